"""Early stop."""

from __future__ import annotations

from branchtrack.core.agents.policies.early_stop import EarlyStop
from tests.core.agents.seen import curve, view

STALE = {"eval_loss": curve([1.0, 0.5, 0.6, 0.7, 0.8], 10)}


def test_a_training_that_no_longer_improves_is_stopped() -> None:
    (decision,) = EarlyStop.of({"patience": 3}).decide(view(curves=STALE), {})
    assert decision.action == "stop" and "3 points" in decision.reason


def test_it_waits_for_its_patience_and_its_first_steps() -> None:
    assert EarlyStop.of({"patience": 4}).decide(view(curves=STALE), {}) == []
    early = EarlyStop.of({"patience": 3, "min_steps": 50})
    assert early.decide(view(curves=STALE, step=49), {}) == []
    assert early.decide(view(curves=STALE, step=50), {})


def test_what_has_ended_is_not_stopped() -> None:
    assert EarlyStop.of({"patience": 3}).decide(view(curves=STALE, status="stopped"), {}) == []
