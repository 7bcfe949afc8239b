"""Learning rates are changed at their base, and the schedule goes on from there."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler as schedulers
from transformers.optimization import GreedyLR

from branchtrack.training.settings import learning_rates as rates_of
from tests.training.settings.two_groups import SCHEDULES, STEPS, rates, run, two_groups


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("at", [0, 3, 7, 12])
def test_after_a_change_the_schedule_goes_on_at_its_place(name: str, at: int) -> None:
    untouched = run(two_groups(SCHEDULES[name]), STEPS)
    live = two_groups(SCHEDULES[name])
    before = run(live, at)
    peak = rates_of.read_lr(live)
    rates_of.write_lr(live, 3 * peak)
    after = run(live, STEPS - at)
    assert before == untouched[:at]
    for used, plain in zip(after, untouched[at:], strict=True):
        assert used == pytest.approx([3 * rate for rate in plain], rel=1e-9, abs=1e-15)
    assert rates_of.read_lr(live) == 3 * peak


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_learning_rate_is_the_peak_wherever_the_schedule_is(name: str) -> None:
    live = two_groups(SCHEDULES[name])
    peaks = set()
    for _ in range(STEPS):
        peaks.add(rates_of.read_lr(live))
        run(live, 1)
    assert peaks == {0.4 if name == "cyclic" else 0.1}


def test_without_a_scheduler_the_new_rate_is_simply_used() -> None:
    live = two_groups()
    rates_of.write_lr(live, 0.03)
    assert rates(live) == [0.03, pytest.approx(0.0075)]
    assert run(live, 2)[1] == rates(live)


def test_a_changed_rate_is_a_number_that_the_schedule_itself_would_have_made() -> None:
    direct = two_groups(SCHEDULES["lambda"], rates=(0.3, 0.3))
    live = two_groups(SCHEDULES["lambda"], rates=(0.1, 0.1))
    run(live, 9)
    rates_of.write_lr(live, 0.3)
    assert run(live, 8) == run(direct, 17)[9:]


def test_a_group_whose_rate_is_zero_keeps_it() -> None:
    live = two_groups(rates=(0.1, 0.0))
    rates_of.write_lr(live, 0.2)
    assert rates(live) == [0.2, 0.0]


def test_rates_that_are_tensors_are_changed_in_place() -> None:
    live = two_groups(capturable=False, foreach=False)
    for group in live.groups:
        group["lr"] = torch.tensor(group["lr"], dtype=torch.float64)
    held = [group["lr"] for group in live.groups]
    rates_of.write_lr(live, 0.05)
    assert [group["lr"] for group in live.groups] == held
    assert held[0].item() == 0.05 and held[1].item() == 0.0125


@pytest.mark.parametrize("kind", [schedulers.ReduceLROnPlateau, GreedyLR])
def test_schedulers_that_watch_a_metric_go_on_from_the_new_rate(kind: type[Any]) -> None:
    live = two_groups(lambda o: kind(o, factor=0.5, patience=0, min_lr=1e-6))
    for loss in (1.0, 2.0, 3.0):
        live.scheduler.step(loss)
    rates_of.write_lr(live, 0.08)
    assert rates(live) == [0.08, pytest.approx(0.02)] and rates_of.read_lr(live) == 0.08
    live.scheduler.step(4.0)
    assert rates(live) == [0.04, pytest.approx(0.01)]


def test_one_group_alone_is_changed_and_the_others_stay() -> None:
    live = two_groups(SCHEDULES["step"])
    rates_of.write_group_lr(live, 1, 0.5)
    assert rates(live) == [0.1, 0.5]
    assert rates_of.read_group_lr(live, 1) == rates_of.read_lr(live) == 0.5
    assert live.scheduler.base_lrs == [0.1, 0.5]
