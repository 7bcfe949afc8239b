"""Curves as agents see them, and values that are scaled within bounds."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from branchtrack.core.agents.views import Curve, multiplied
from branchtrack.core.settings import Setting
from tests.core.agents.seen import SETTINGS, curve, view


def test_a_curve_is_cut_after_a_step() -> None:
    whole = Curve([1, 5, 9], [3.0, 2.0, 1.0])
    assert list(whole.after(4).points()) == [(5, 2.0), (9, 1.0)]
    assert len(whole.after(-1)) == 3 and len(whole.after(9)) == 0


def test_smoothing_takes_medians_and_keeps_nan() -> None:
    assert curve([1, 9, 2, 3]).smoothed(3).values == [1, 5, 2, 3]
    assert math.isnan(curve([1, math.nan]).smoothed(2).values[1])


def test_what_trains_and_what_is_over() -> None:
    assert view().is_live and view(status="paused").is_live
    assert not view(status="finished").is_live
    assert view(step=1000).is_over and not view(step=9).is_over
    assert not view(step=9, max_steps=None).is_over


def test_the_first_metric_with_points_is_taken() -> None:
    assert view([1.0]).first_with_points("eval_loss", "loss") == "loss"
    assert view().first_with_points("eval_loss", "loss") == "loss"


def test_a_setting_is_scaled_within_its_bounds() -> None:
    assert view().scaled("lr", 0.5) == {"lr": 0.05}
    bounded = {"lr": Setting("lr", minimum=0.08, live=True)}
    assert view(declared=bounded).scaled("lr", 0.5) == {"lr": 0.08}
    stays = view(declared={"lr": Setting("lr", minimum=0.1, live=True)})
    assert stays.scaled("lr", 0.5) == {}


@pytest.mark.parametrize("value", [None, "warm", True, math.nan, math.inf])
def test_what_is_no_number_is_not_scaled(value: object) -> None:
    assert view(settings={**SETTINGS, "lr": value}).scaled("lr", 0.5) == {}


def test_what_cannot_be_changed_live_is_not_scaled() -> None:
    fixed = replace(view().declared["lr"], live=False)
    assert view(declared={"lr": fixed}).scaled("lr", 0.5) == {}
    assert view().scaled("nothing", 0.5) == {}


def test_a_whole_number_stays_one() -> None:
    assert multiplied(Setting("n", "int", minimum=1), 4, 0.8) == {"n": 3}
    assert multiplied(Setting("n", "int", minimum=1), 1, 0.5) == {}
