"""A setting is written where the maths reads it, and read back from there."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler as schedulers
from transformers import Adafactor
from transformers.optimization import GreedyLR, get_cosine_schedule_with_warmup

from branchtrack.training.settings import apply, param_groups
from branchtrack.training.settings import learning_rates as rates_of
from branchtrack.training.settings.apply import Live

STEPS = 20


def made(
    schedule: Callable[[torch.optim.Optimizer], Any] | None = None,
    rates: tuple[float, ...] = (0.1, 0.025),
    **options: Any,
) -> Live:
    """A model of two layers, a group for each with its own rate; the second is not decayed."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 1))
    groups = [
        {"params": list(layer.parameters()), "lr": rate, "weight_decay": decay}
        for layer, rate, decay in zip(model, rates, (0.5, 0.0), strict=True)
    ]
    optimizer = torch.optim.AdamW(groups, **options)
    return Live(
        model,
        optimizer,
        schedule(optimizer) if schedule else None,
        SimpleNamespace(max_grad_norm=1.0),
        [True, False],
    )


def rates(live: Live) -> list[float]:
    return [apply.number(group["lr"]) for group in live.groups]


def run(live: Live, steps: int) -> list[list[float]]:
    """The groups' rates at each of the next updates."""
    used = []
    for _ in range(steps):
        for parameter in live.model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        used.append(rates(live))
        live.optimizer.step()
        if live.scheduler is not None:
            live.scheduler.step()
    return used


SCHEDULES: dict[str, Callable[[torch.optim.Optimizer], Any]] = {
    "lambda": lambda o: get_cosine_schedule_with_warmup(o, 4, STEPS),
    "step": lambda o: schedulers.StepLR(o, 5, 0.5),
    "multi-step": lambda o: schedulers.MultiStepLR(o, [3, 11], 0.1),
    "cosine": lambda o: schedulers.CosineAnnealingLR(o, STEPS),
    "warm restarts": lambda o: schedulers.CosineAnnealingWarmRestarts(o, 6),
    "linear": lambda o: schedulers.LinearLR(o, 0.1, total_iters=9),
    "exponential": lambda o: schedulers.ExponentialLR(o, 0.9),
    "polynomial": lambda o: schedulers.PolynomialLR(o, STEPS),
    "one cycle": lambda o: schedulers.OneCycleLR(o, [0.1, 0.025], total_steps=STEPS + 1),
    "cyclic": lambda o: schedulers.CyclicLR(
        o, [0.1, 0.025], [0.4, 0.1], step_size_up=4, cycle_momentum=False
    ),
    "sequential": lambda o: schedulers.SequentialLR(
        o,
        [schedulers.LinearLR(o, 0.1, total_iters=5), schedulers.CosineAnnealingLR(o, 15)],
        milestones=[5],
    ),
    "chained": lambda o: schedulers.ChainedScheduler(
        [schedulers.LinearLR(o, 0.1, total_iters=5), schedulers.ExponentialLR(o, 0.9)]
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("at", [0, 3, 7, 12])
def test_after_a_change_the_schedule_goes_on_at_its_place(name: str, at: int) -> None:
    untouched = run(made(SCHEDULES[name]), STEPS)
    live = made(SCHEDULES[name])
    before = run(live, at)
    peak = rates_of.read_lr(live)
    rates_of.write_lr(live, 3 * peak)
    after = run(live, STEPS - at)
    assert before == untouched[:at]
    for found, plain in zip(after, untouched[at:], strict=True):
        assert found == pytest.approx([3 * rate for rate in plain], rel=1e-9, abs=1e-15)
    assert rates_of.read_lr(live) == 3 * peak


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_learning_rate_is_the_peak_wherever_the_schedule_is(name: str) -> None:
    live = made(SCHEDULES[name])
    found = set()
    for _ in range(STEPS):
        found.add(rates_of.read_lr(live))
        run(live, 1)
    assert found == {0.4 if name == "cyclic" else 0.1}


def test_without_a_scheduler_the_new_rate_is_simply_used() -> None:
    live = made()
    rates_of.write_lr(live, 0.03)
    assert rates(live) == [0.03, pytest.approx(0.0075)]
    assert run(live, 2)[1] == rates(live)


def test_a_changed_rate_is_a_number_that_the_schedule_itself_would_have_made() -> None:
    direct = made(SCHEDULES["lambda"], rates=(0.3, 0.3))
    live = made(SCHEDULES["lambda"], rates=(0.1, 0.1))
    run(live, 9)
    rates_of.write_lr(live, 0.3)
    assert run(live, 8) == run(direct, 17)[9:]


def test_a_group_whose_rate_is_zero_keeps_it() -> None:
    live = made(rates=(0.1, 0.0))
    rates_of.write_lr(live, 0.2)
    assert rates(live) == [0.2, 0.0]


def test_rates_that_are_tensors_are_changed_in_place() -> None:
    live = made(capturable=False, foreach=False)
    for group in live.groups:
        group["lr"] = torch.tensor(group["lr"], dtype=torch.float64)
    held = [group["lr"] for group in live.groups]
    rates_of.write_lr(live, 0.05)
    assert [group["lr"] for group in live.groups] == held
    assert held[0].item() == 0.05 and held[1].item() == 0.0125


@pytest.mark.parametrize("kind", [schedulers.ReduceLROnPlateau, GreedyLR])
def test_schedulers_that_watch_a_metric_go_on_from_the_new_rate(kind: type[Any]) -> None:
    live = made(lambda o: kind(o, factor=0.5, patience=0, min_lr=1e-6))
    for loss in (1.0, 2.0, 3.0):
        live.scheduler.step(loss)
    rates_of.write_lr(live, 0.08)
    assert rates(live) == [0.08, pytest.approx(0.02)] and rates_of.read_lr(live) == 0.08
    live.scheduler.step(4.0)
    assert rates(live) == [0.04, pytest.approx(0.01)]


def test_weight_decay_leaves_the_undecayed_group_alone() -> None:
    live = made()
    param_groups.write_weight_decay(live, 0.2)
    assert [group["weight_decay"] for group in live.groups] == [0.2, 0.0]
    param_groups.write_weight_decay(live, 0.0)
    param_groups.write_weight_decay(live, 0.3)
    assert [group["weight_decay"] for group in live.groups] == [0.3, 0.0]
    assert param_groups.read_weight_decay(live) == 0.3


def test_weight_decay_keeps_the_ratio_between_decayed_groups() -> None:
    live = made()
    live.decayed = [True, True]
    live.groups[1]["weight_decay"] = 0.1
    param_groups.write_weight_decay(live, 1.0)
    assert [group["weight_decay"] for group in live.groups] == [1.0, pytest.approx(0.2)]


def test_max_grad_norm_is_written_where_the_loop_reads_it() -> None:
    live = made()
    assert apply.write_all(live, {"max_grad_norm": 0.25}) == {"max_grad_norm": 0.25}
    assert live.options.max_grad_norm == 0.25
    live.options.max_grad_norm = None
    assert param_groups.read_max_grad_norm(live) == 0.0


def test_only_settings_that_the_objects_have_are_declared() -> None:
    live = made()
    names = ["lr", "weight_decay", "max_grad_norm", "betas", "eps", "group0.lr", "group1.lr"]
    names.append("frozen")
    assert [s.name for s in apply.declare(live)] == names
    live.optimizer = torch.optim.LBFGS(live.model.parameters(), lr=0.5)
    found = apply.read_all(live)
    assert {"lr", "max_grad_norm", "frozen", "max_iter"} < found.keys()
    assert not {"history_size", "weight_decay", "eps"} & found.keys()
    live.optimizer = Adafactor(live.model.parameters(), lr=None)
    assert apply.read_all(live) == {
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "frozen": "",
        "eps": [1e-30, 1e-3],
        "clip_threshold": 1.0,
        "decay_rate": -0.8,
    }
    assert apply.used(live)["lr_now"] is None


def used_after(live: Live, meanwhile: Callable[[], object]) -> bool:
    """Whether the change of all settings is seen after ``meanwhile`` has happened."""
    wanted = {"lr": 0.01, "weight_decay": 0.1, "max_grad_norm": 2.0}
    apply.write_all(live, wanted)
    expected = apply.read_groups(live)
    for parameter in live.model.parameters():
        parameter.grad = torch.full_like(parameter, 0.1)
    meanwhile()
    return apply.agrees(wanted, expected, apply.used(live))


def test_what_was_written_is_found_by_the_next_update() -> None:
    assert used_after(made(), lambda: None)


@pytest.mark.parametrize("group", [0, 1])
def test_a_rate_overwritten_in_any_group_is_noticed(group: int) -> None:
    live = made()
    assert not used_after(live, lambda: live.groups[group].update(lr=0.5))


def test_other_overwritten_settings_are_noticed() -> None:
    live = made()
    assert not used_after(live, lambda: live.groups[0].update(weight_decay=0.4))
    assert not used_after(live, lambda: setattr(live.options, "max_grad_norm", 9.0))


def test_gradients_over_the_limit_are_noticed() -> None:
    live = made()

    def unclipped() -> None:
        for parameter in live.model.parameters():
            parameter.grad = torch.ones_like(parameter)

    assert not used_after(live, unclipped)


def test_the_norm_is_that_of_all_gradients() -> None:
    live = made()
    assert apply.used(live)["grad_norm"] == 0.0
    for parameter in live.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    assert apply.used(live)["grad_norm"] == pytest.approx(4.0)
