"""Momentum and betas where a schedule cycles them: the cycle is scaled, and goes on."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler as schedulers

from branchtrack.training.settings import apply, momenta, registry
from branchtrack.training.settings.live import Live
from branchtrack.training.settings.rollback import keep_state

STEPS = 16
CYCLES: dict[str, Callable[[Any], Any]] = {
    "one cycle": lambda o: schedulers.OneCycleLR(o, 0.1, total_steps=STEPS),
    "cyclic": lambda o: schedulers.CyclicLR(o, 0.01, 0.1, step_size_up=3),
    "behind a warm-up": lambda o: schedulers.SequentialLR(
        o,
        [schedulers.LinearLR(o, 0.1, total_iters=4), schedulers.OneCycleLR(o, 0.1, total_steps=12)],
        milestones=[4],
    ),
}
OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "sgd": lambda groups: torch.optim.SGD(groups, 0.1, momentum=0.9),
    "adamw": lambda groups: torch.optim.AdamW(groups, 0.1),
}


def live(optimizer: str, cycle: Callable[[Any], Any] | None) -> Live:
    """One parameter in each of two groups."""
    model = torch.nn.Linear(2, 2)
    made = OPTIMIZERS[optimizer]([{"params": [model.weight]}, {"params": [model.bias]}])
    scheduler = None if cycle is None else cycle(made)
    return Live(model, made, scheduler, SimpleNamespace(), [True, True])


def run(one: Live, steps: int) -> list[float]:
    """The momentum, or the first of the betas, that each of some updates uses."""
    found = []
    for _ in range(steps):
        group = one.groups[-1]
        found.append(group["momentum"] if "momentum" in group else group["betas"][0])
        one.optimizer.step()
        one.scheduler.step()
    return found


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("cycle", CYCLES)
@pytest.mark.parametrize("at", [0, 3, 7])
def test_after_a_change_the_cycle_is_scaled_and_goes_on(
    optimizer: str, cycle: str, at: int
) -> None:
    untouched = run(live(optimizer, CYCLES[cycle]), STEPS)
    one = live(optimizer, CYCLES[cycle])
    before = run(one, at)
    most = momenta.read_momentum(one) if optimizer == "sgd" else momenta.read_betas(one)[0]
    values = {"momentum": most / 3} if optimizer == "sgd" else {"betas": [most / 3, 0.95]}
    assert apply.write_all(one, values) == values
    after = run(one, STEPS - at)
    assert before == untouched[:at]
    assert after == pytest.approx([found / 3 for found in untouched[at:]], rel=1e-9)
    assert apply.read_all(one).items() >= values.items()
    if optimizer == "adamw":
        assert [group["betas"][1] for group in one.groups] == [0.95, 0.95]


def test_ratios_between_groups_are_kept_and_none_goes_beyond_what_is_set() -> None:
    one = live(
        "sgd", lambda o: schedulers.OneCycleLR(o, 0.1, total_steps=9, max_momentum=[0.4, 0.8])
    )
    assert momenta.read_momentum(one) == 0.8
    momenta.write_momentum(one, 0.9)
    assert [group["max_momentum"] for group in one.groups] == [pytest.approx(0.45), 0.9]


def test_what_the_update_uses_stands_beside_the_most_of_the_cycle() -> None:
    one = live("sgd", CYCLES["one cycle"])
    run(one, 2)
    found = apply.in_force(one)
    assert found["momentum"] == 0.95
    assert found["momentum_now"] == one.groups[0]["momentum"] != 0.95
    other = live("adamw", CYCLES["cyclic"])
    run(other, 2)
    assert apply.in_force(other)["betas_now"] == list(other.groups[0]["betas"])
    assert not {"momentum_now", "betas_now"} & apply.in_force(live("sgd", None)).keys()


def test_the_declaration_says_that_it_is_the_cycle_that_is_set() -> None:
    for optimizer, name in (("sgd", "momentum"), ("adamw", "betas")):
        about = {s.name: s.about for s in apply.declare(live(optimizer, CYCLES["cyclic"]))}
        plain = {s.name: s.about for s in apply.declare(live(optimizer, None))}
        assert "maximum of the cycle" in about[name] and "cycle" not in plain[name]


def test_a_change_that_is_taken_back_leaves_the_cycle_as_it_was() -> None:
    one, other = live("adamw", CYCLES["cyclic"]), live("adamw", CYCLES["cyclic"])
    put_back = keep_state(one, registry.current(one))
    momenta.write_betas(one, [0.5, 0.6])
    put_back()
    assert run(one, STEPS) == run(other, STEPS)
    assert one.groups[0]["betas"] == other.groups[0]["betas"]
