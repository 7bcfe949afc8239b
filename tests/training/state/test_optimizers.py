"""Optimizers and schedulers go on from a captured state with the same bits, or are refused."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler as schedulers

from branchtrack.errors import CheckpointMismatch
from branchtrack.training.settings.live import Live
from branchtrack.training.state import optimizers

Make = Callable[[Any], torch.optim.Optimizer]
KINDS: dict[str, Make] = {
    "sgd": lambda groups: torch.optim.SGD(groups, 0.1, momentum=0.9),
    "adamw": lambda groups: torch.optim.AdamW(groups, 0.1, amsgrad=True),
    "adagrad": lambda groups: torch.optim.Adagrad(groups, 0.1),
}


def objects(make: Make = KINDS["adamw"], schedule: Any = None, width: int = 2) -> Live:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(2, width), torch.nn.Linear(width, 1))
    optimizer = make([{"params": list(layer.parameters())} for layer in model])
    scheduler = schedule(optimizer) if schedule else None
    return Live(model, optimizer, scheduler, SimpleNamespace(), [True, True])


def several(**make: Make) -> Live:
    torch.manual_seed(0)
    model = torch.nn.ModuleDict({name: torch.nn.Linear(2, 2) for name in make})
    by_name = {name: how(model[name].parameters()) for name, how in make.items()}
    return Live(model, by_name, None, SimpleNamespace(), [True] * len(make))


def train(live: Live, steps: int) -> list[list[float]]:
    for step in range(steps):
        for index, parameter in enumerate(live.model.parameters()):
            parameter.grad = torch.full_like(parameter, 0.1 * (index + step + 1))
        for objects_of_one in live.parts.values():
            objects_of_one.optimizer.step()
            if objects_of_one.scheduler is not None:
                objects_of_one.scheduler.step()
    return [parameter.flatten().tolist() for parameter in live.model.parameters()]


def move(source: Live, target: Live) -> None:
    """Have the target go on from the state of the source."""
    tensors: dict[str, torch.Tensor] = {}
    state, schedule = (of(source, tensors) for of in (optimizers.state_of, optimizers.schedule_of))
    assert state is not None
    with torch.no_grad():
        target.model.load_state_dict(source.model.state_dict())
    optimizers.restore(target, state, tensors, optimizers.group_settings(source))
    optimizers.restore_schedule(target, schedule, tensors)


@pytest.mark.parametrize("kind", KINDS)
def test_an_optimizer_goes_on_with_the_same_bits(kind: str) -> None:
    def schedule(optimizer: Any) -> Any:
        return schedulers.CosineAnnealingLR(optimizer, 9)

    source, target = objects(KINDS[kind], schedule), objects(KINDS[kind], schedule)
    train(source, 3)
    source.groups[0]["lr"] = 0.05
    move(source, target)
    assert train(target, 3) == train(source, 3)


def test_several_optimizers_go_on_by_name() -> None:
    source, target = (
        several(b=KINDS["sgd"], a=KINDS["adamw"]),
        several(a=KINDS["adamw"], b=KINDS["sgd"]),
    )
    train(source, 2)
    move(source, target)
    momentum = target.optimizer["b"].state[target.model["b"].weight]["momentum_buffer"]
    expected = source.optimizer["b"].state[source.model["b"].weight]["momentum_buffer"]
    assert torch.equal(momentum, expected) and momentum is not expected


def test_a_rate_that_is_a_tensor_stays_the_tensor_that_the_optimizer_reads() -> None:
    source, target = objects(), objects()
    source.groups[0]["lr"] = 0.5
    target.groups[0]["lr"] = rate = torch.tensor(0.1)
    move(source, target)
    assert target.groups[0]["lr"] is rate and rate.item() == 0.5


def test_settings_of_groups_are_plain_values() -> None:
    live = objects()
    live.groups[0]["lr"], live.groups[1]["lr"] = torch.tensor(0.5), np.float64(0.25)
    settings = optimizers.group_settings(live)
    assert [group["lr"] for group in settings] == [0.5, 0.25]
    assert all("params" not in group for group in settings)


def test_a_parameter_that_is_not_the_models_is_numbered() -> None:
    live = objects()
    live.optimizer.add_param_group({"params": [torch.nn.Parameter(torch.zeros(1))]})
    assert optimizers.parameter_names(live)[1:] == [["1.weight", "1.bias"], ["group2.0"]]


@pytest.mark.parametrize(
    ("target", "what"),
    [
        (lambda: objects(KINDS["sgd"]), "optimizer"),
        (lambda: several(a=KINDS["adamw"]), "names of optimizers"),
        (lambda: objects(schedule=lambda o: schedulers.StepLR(o, 1)), "scheduler"),
    ],
)
def test_other_objects_are_refused(target: Callable[[], Live], what: str) -> None:
    with pytest.raises(CheckpointMismatch, match=what):
        move_without_weights(objects(), target())


def move_without_weights(source: Live, target: Live) -> None:
    tensors: dict[str, torch.Tensor] = {}
    state, schedule = optimizers.state_of(source, tensors), optimizers.schedule_of(source, tensors)
    optimizers.restore(target, state, tensors, optimizers.group_settings(source))
    optimizers.restore_schedule(target, schedule, tensors)


def test_a_schedule_that_only_repeats_the_groups_keeps_no_rates() -> None:
    live = objects(schedule=lambda o: schedulers.StepLR(o, 1))
    state = optimizers.schedule_of(live, {})
    assert state is not None and state["settings"] == ["base_lrs", "_last_lr"]
    live.scheduler.base_lrs = [9.0, 9.0]
    state = optimizers.schedule_of(live, {})
    assert state is not None and state["settings"] == ["_last_lr"]
    assert optimizers.schedule_of(objects(), {}) is None
