"""One change of a recording: its moment, its fields, and how an error names them."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack.core.replays.changes import Moment, change_of, moment_of
from branchtrack.errors import InvalidInput

SET_LR = {"kind": "set", "values": {"lr": 0.01}}


def test_a_change_is_written_and_read() -> None:
    row = {
        "at": {"step": 3},
        **SET_LR,
        "by": "request",
        "reason": "why",
        "actor": "ann",
        "before": {"lr": 0.1},
        "after": {"lr": 0.01},
        "metrics": {"loss": 1.0},
    }
    change = change_of(row, 7)
    assert change.as_dict() == row and change.line == 7
    assert change.payload == SET_LR and change.intervention.kind == "set"


def test_a_line_needs_only_its_moment_and_its_change() -> None:
    change = change_of({"at": {"once": "loss < 2.0"}, "kind": "freeze", "modules": "0"}, 1)
    assert (change.by, change.reason, change.at) == ("request", "", Moment(once="loss<2"))


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"at": {"step": 1}, "kind": "pause"}, "kind"),
        ({"at": {"step": 1}, "kind": "explode"}, "kind"),
        ({"at": {"step": 1}}, "kind"),
        ({"at": {"step": 1}, "kind": "freeze"}, "modules"),
        ({"at": {"step": 1}, "kind": "freeze", "modules": 3}, "modules"),
        ({"at": {"step": 1}, **SET_LR, "when": "now"}, "when"),
        ({"at": {"step": -1}, **SET_LR}, "at.step"),
        ({"at": {"step": 1.5}, **SET_LR}, "at.step"),
        ({"at": {"fraction": 1.1}, **SET_LR}, "at.fraction"),
        ({"at": {"once": "best(loss)<1"}, **SET_LR}, "at.once"),
        ({"at": {"step": 1, "fraction": 0.5}, **SET_LR}, "at"),
        ({"at": {"epoch": 1}, **SET_LR}, "at"),
        (SET_LR, "at"),
        ({"at": {"step": 1}, **SET_LR, "by": "luck"}, "by"),
        ({"at": {"step": 1}, **SET_LR, "reason": 3}, "reason"),
        ({"at": {"step": 1}, **SET_LR, "metrics": [1]}, "metrics"),
        ({"at": {"step": 1}, "kind": "set", "values": {"lr": "\ud800"}}, "values.lr"),
    ],
)
def test_what_a_line_cannot_have_is_named(row: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        change_of(row, 1)
    assert caught.value.field == field


@pytest.mark.parametrize("step", [0, 1, 37, 333, 999, 1000])
def test_a_fraction_gives_back_its_step_and_scales(step: int) -> None:
    moment = moment_of(step, "fraction", 1000, {})
    assert moment.conditions(1000) == {"at_step": step}
    assert moment.conditions(2000) == {"at_step": 2 * step}
    with pytest.raises(InvalidInput):
        moment.conditions(None)


def test_a_metric_is_written_by_its_direction() -> None:
    metrics = {"eval_loss": 2.31, "eval/accuracy": 0.5}
    assert moment_of(3, "eval_loss", None, metrics).once == "eval_loss<=2.31"
    assert moment_of(3, "eval/accuracy", None, metrics).once == "eval/accuracy>=0.5"
    with pytest.raises(InvalidInput, match="logged by step 3: eval/accuracy, eval_loss"):
        moment_of(3, "reward", None, metrics)
    with pytest.raises(InvalidInput, match="no planned length"):
        moment_of(3, "fraction", None, metrics)
