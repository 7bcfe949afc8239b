"""Policies as controllers."""

from __future__ import annotations

import pytest

from branchtrack.agents.rules import RuleController
from branchtrack.errors import InvalidInput
from tests.core.agents.seen import curve, view


def test_a_policy_decides_and_only_its_metric_is_read() -> None:
    controller = RuleController("early-stop", {"patience": "2", "metric": "val"})
    assert controller.metrics == ("val",) and not controller.every_branch
    assert controller.options == {"metric": "val", "patience": 2, "min_delta": 0.0, "min_steps": 0}
    (decision,) = controller.decide(view(curves={"val": curve([1, 2, 3])}), {})
    assert decision.reason


def test_a_policy_without_a_metric_reads_the_losses() -> None:
    assert RuleController("plateau", {}).metrics == ("eval_loss", "loss")
    assert RuleController("population", {}).every_branch


def test_unknown_policies_and_options_are_refused() -> None:
    with pytest.raises(InvalidInput):
        RuleController("oracle", {})
    with pytest.raises(InvalidInput):
        RuleController("guard", {"speed": 1})
