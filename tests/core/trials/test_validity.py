"""Trials that branchtrack could not have written are told from others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from branchtrack.core.trials.outcomes import judged
from branchtrack.core.trials.records import DIVERGED, ORDERED, Arm, Spec, Trial
from branchtrack.core.trials.validity import fault
from tests.core.trials import made_up
from tests.core.trials.test_outcomes import ROWS


def settled(**facts: Any) -> Trial:
    """A trial of one change with a verdict."""
    trial = made_up.trial(None, *[row[:2] for row in ROWS])
    return replace(trial, **{"verdicts": tuple(judged(trial, trial.pairs)), **facts})


def spec(**facts: Any) -> Spec:
    return replace(made_up.spec(), **facts)


def test_what_branchtrack_writes_has_no_fault() -> None:
    assert fault(settled()) == ""
    assert fault(made_up.trial(made_up.spec(arms=2))) == ""
    unfinished = made_up.pairs((None, 1.0))[0]
    control = replace(made_up.side(None), state=DIVERGED)
    assert fault(settled(pairs=(unfinished.with_side(0, control),))) == ""
    waits = replace(made_up.side(None), state=ORDERED)
    assert fault(settled(pairs=(unfinished.with_side(0, waits),))) == ""


@pytest.mark.parametrize(
    ("facts", "column"),
    [
        ({"kind": "other"}, "kind"),
        ({"state": "lost"}, "state"),
        ({"spec": spec(nodes=())}, "spec"),
        ({"spec": spec(arms=())}, "spec"),
        ({"spec": spec(at=(4, 6))}, "spec"),
        ({"spec": spec(at=(6, 4, 8))}, "spec"),
        ({"spec": spec(repeats=7)}, "spec"),
        ({"spec": spec(levels=(0.0, 0.1, 0.2))}, "spec"),
        ({"spec": spec(margin=float("nan"))}, "spec"),
        ({"spec": spec(floor=-1.0)}, "spec"),
        ({"spec": spec(steps=0)}, "spec"),
        ({"pairs": made_up.pairs((1.0, 2.0, 3.0))}, "pairs"),
        ({"pairs": made_up.pairs((1.0, None))}, "pairs"),
        ({"pairs": made_up.pairs((1.0, float("inf")))}, "pairs"),
        ({"verdicts": ()}, "verdicts"),
        ({"spec": spec(arms=(Arm("a"), Arm("b"))), "pairs": ()}, "verdicts"),
    ],
)
def test_a_fault_is_named_by_its_column(facts: dict[str, Any], column: str) -> None:
    assert fault(settled(**facts)) == column


@pytest.mark.parametrize(
    "change",
    [
        {"verdict": "great"},
        {"effect": float("inf")},
        {"low": None},
        {"effect": None},
        {"margin": -0.1},
    ],
)
def test_a_verdict_that_nobody_could_give_is_a_fault(change: dict[str, Any]) -> None:
    (verdict,) = settled().verdicts
    assert verdict is not None
    assert fault(settled(verdicts=(replace(verdict, **change),))) == "verdicts"
