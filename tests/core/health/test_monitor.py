"""The monitor: the detectors of a run's rules, and branches that begin clean."""

from __future__ import annotations

import math

from branchtrack.core.health import rules
from branchtrack.core.health.monitor import Monitor
from branchtrack.core.health.rules import Rules


def test_each_rule_watches_its_metrics_and_can_be_off() -> None:
    assert Monitor(Rules()).names == ["eval_loss", "grad_norm", "loss"]
    off = {"nan": False, "spike": None, "plateau": None, "plateau_loss": None}
    assert Monitor(rules.from_json(off)).names == []
    target = Monitor(rules.from_json({**off, "targets": ["accuracy>0.9"]}))
    assert target.names == ["accuracy"]
    assert [each.kind for each in target.feed("accuracy", 3, 0.95)] == ["target"]


def test_what_is_not_watched_says_nothing() -> None:
    assert Monitor(Rules()).feed("accuracy", 1, math.nan) == []


def test_a_branch_from_before_the_nan_begins_clean_and_knows_the_curve() -> None:
    monitor = Monitor(Rules())
    monitor.prime("loss", [(step, 1.0) for step in range(40)])
    assert monitor.feed("loss", 40, 1.0) == []
    assert [each.kind for each in monitor.feed("loss", 41, 50.0)] == ["spike"]


def test_what_was_found_in_the_inherited_curve_is_not_said_again() -> None:
    monitor = Monitor(rules.from_json({"targets": ["loss<2"]}))
    monitor.prime("loss", [(0, 1.0), (1, math.nan)])
    assert monitor.feed("loss", 2, 1.0) == []
    assert [each.step for each in monitor.feed("loss", 3, math.nan)] == [3]


def test_where_there_are_evaluations_the_plateau_is_theirs() -> None:
    def found(evaluates: bool) -> list[str]:
        monitor = Monitor(rules.from_json({"plateau_loss": 50}))
        if evaluates:
            monitor.feed("eval_loss", 0, 1.0)
        fed = [monitor.feed("loss", step, 1.0) for step in range(100)]
        return [each.kind for some in fed for each in some]

    assert found(evaluates=False) == ["plateau"] and found(evaluates=True) == []
