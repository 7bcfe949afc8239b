"""Detectors: silent on healthy curves, exact about where something begins, and each thing once."""

from __future__ import annotations

import math

import numpy as np
import pytest

from branchtrack.core.health.detectors import (
    Detector,
    NaNDetector,
    PlateauDetector,
    SpikeDetector,
    TargetDetector,
    findings,
)
from branchtrack.core.health.rules import Target


def points(values: list[float]) -> list[tuple[int, float]]:
    return list(enumerate(values))


def test_nan_is_found_at_once_and_said_once() -> None:
    found = findings(NaNDetector("loss"), points([1.0] * 5 + [math.nan, math.inf] * 10))
    assert [(each.kind, each.step, each.after) for each in found] == [("nan", 5, 4)]


def test_nan_that_comes_back_after_many_finite_values_is_something_new() -> None:
    values = [math.nan, 1.0, math.nan, *[1.0] * 60, -math.inf]
    assert [each.step for each in findings(NaNDetector("loss"), points(values))] == [0, 63]


def test_a_few_overflows_are_none_where_several_in_a_row_are_asked_for() -> None:
    values = [math.inf, math.inf, 1.0, *[math.nan] * 5]
    assert [each.step for each in findings(NaNDetector("grad_norm", 5), points(values))] == [3]


def test_a_spike_is_found_where_it_begins_and_said_once() -> None:
    noise = np.random.default_rng(0)
    values = list(2 + 0.1 * noise.standard_normal(200))
    values[100:110] = [9.0] * 10
    found = findings(SpikeDetector("loss"), points(values))
    assert [(each.step, each.value, each.after) for each in found] == [(100, 9.0, 99)]
    assert found[0].facts["median"] == pytest.approx(2, abs=0.1)


def test_nothing_is_a_spike_before_there_is_anything_to_compare_with() -> None:
    assert findings(SpikeDetector("loss"), points([1.0] * 10 + [99.0] + [1.0] * 5)) == []


def test_a_spike_on_a_constant_curve_and_on_one_at_zero_is_found() -> None:
    assert findings(SpikeDetector("loss"), points([1.0] * 30 + [2.0])) != []
    assert findings(SpikeDetector("loss"), points([0.0] * 30 + [0.1])) != []
    assert findings(SpikeDetector("loss"), points([0.0] * 60)) == []


def test_a_spike_knows_the_points_before_a_restart() -> None:
    detector = SpikeDetector("loss")
    assert findings(detector, points([1.0] * 30 + [9.0])) != []
    detector.restart()
    assert detector.feed(31, 9.0) is not None


def test_a_plateau_is_found_once() -> None:
    values = [1 / (step + 1) for step in range(10)] + [0.1] * 50
    found = findings(PlateauDetector("eval_loss", 10), points(values))
    assert [each.step for each in found] == [19]
    assert found[0].facts == {"best": 0.1, "since": 9, "points": 10}


def test_a_plateau_of_what_should_rise_is_found_too() -> None:
    found = findings(PlateauDetector("accuracy", 3, higher=True), points([0.1, 0.5, *[0.4] * 5]))
    assert [(each.step, each.facts["best"]) for each in found] == [(4, 0.5)]


def test_after_a_restart_a_plateau_waits_anew_for_the_same_best_value() -> None:
    detector = PlateauDetector("eval_loss", 3)
    assert len(findings(detector, points([1.0] * 6))) == 1
    detector.restart()
    assert [detector.feed(10 + step, 1.0) is not None for step in range(3)] == [False, False, True]


def test_a_target_is_reached_once() -> None:
    detector = TargetDetector(Target("loss", "<", 1.0))
    assert [each.step for each in findings(detector, points([2.0, math.nan, 0.9, 2.0, 0.5]))] == [2]


@pytest.mark.parametrize("seed", range(50))
def test_nothing_is_found_in_a_healthy_noisy_training(seed: int) -> None:
    noise = np.random.default_rng(seed)
    steps = np.arange(1, 4001)
    values = 1.5 + 6 * steps**-0.3 + 0.15 * noise.standard_normal(steps.size)
    curve = list(zip(steps.tolist(), values.tolist(), strict=True))
    watching: list[Detector] = [
        NaNDetector("loss"),
        SpikeDetector("loss"),
        PlateauDetector("loss", 2000, span=500),
    ]
    assert [findings(detector, curve) for detector in watching] == [[], [], []]


def test_a_curve_at_once_gives_what_its_points_give_one_by_one() -> None:
    noise = np.random.default_rng(3)
    values = list(np.exp(noise.standard_normal(500)))
    alone = SpikeDetector("loss")
    one_by_one = [alone.feed(step, value) for step, value in points(values)]
    assert findings(SpikeDetector("loss"), points(values)) == [f for f in one_by_one if f]
