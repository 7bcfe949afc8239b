"""Actions of the protocol as requests of ours."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from branchtrack.core import interventions
from branchtrack.core.records import Request
from branchtrack.errors import InvalidInput
from branchtrack.web.protocol.actions import ACTIONS, payload_of, reason_of, type_of

REQUEST = Request(
    1, "r", "run", "branch", "segment", "set", {}, {}, "anna", "", "done",
    None, None, None, None, None, 1, None, 0.0, 0.0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("action", "values", "payload"),
    [
        ("set_knob", {"name": "lr", "value": 1}, {"kind": "set", "values": {"lr": 1}}),
        ("save_checkpoint", {"tag": "x"}, {"kind": "checkpoint"}),
        ("save_checkpoint", {}, {"kind": "checkpoint"}),
        ("load_checkpoint", {"checkpoint_id": "abcd"}, {"kind": "rewind", "node": "abcd"}),
        ("pause", {}, {"kind": "pause"}),
        ("resume", {}, {"kind": "unpause"}),
        ("stop", {}, {"kind": "stop"}),
        ("evaluate", {"split": "test"}, {"kind": "evaluate"}),
        ("reset_module", {"module_name": "head"}, {"kind": "reset", "modules": "head"}),
        ("freeze", {"module_name": "head"}, {"kind": "freeze", "modules": "head"}),
        ("note", {"text": "x"}, {"kind": "note", "text": "x"}),
        ("prune", {"by": 2}, {"kind": "act", "action": "prune", "arguments": {"by": 2}}),
    ],
)
def test_an_action_is_a_request(
    action: str, values: dict[str, Any], payload: dict[str, Any]
) -> None:
    assert payload_of(action, values, ("prune",)) == payload


def test_every_action_stands_for_a_kind_of_ours() -> None:
    values = {"name": "lr", "value": 1, "checkpoint_id": "abcd", "module_name": "x", "text": "x"}
    for action in ACTIONS:
        request = interventions.read(payload_of(action, values, ()))
        assert type_of(replace(REQUEST, kind=request.kind)) == action


def test_an_action_of_the_script_is_known_by_its_own_name() -> None:
    assert type_of(replace(REQUEST, kind="act", payload={"action": "prune"})) == "prune"


@pytest.mark.parametrize(
    ("action", "values", "field"),
    [
        ("set_agent", {}, "type"),
        ("configure_agent", {"api_key": "x"}, "type"),
        ("set_context", {}, "type"),
        ("set_knob", {"value": 1}, "name"),
        ("save_checkpoint", {"tag": 1}, "tag"),
        ("conjure", {}, "type"),
        ("load_checkpoint", {}, "checkpoint_id"),
        ("freeze", {"module_name": ["head"]}, "module_name"),
    ],
)
def test_what_stands_for_nothing_is_refused(
    action: str, values: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInput) as error:
        payload_of(action, values, ())
    assert error.value.field == field


def test_a_reason_is_what_the_action_says_of_itself() -> None:
    assert reason_of("save_checkpoint", {"tag": "before"}, "bot", "") == "before"
    assert reason_of("pause", {}, "", "") == "pause over the Interactive Training protocol"
    assert reason_of("evaluate", {"split": "x"}, "bot", "why") == "why, split x (source: bot)"
