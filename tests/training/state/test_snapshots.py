"""The whole state goes out and comes back in; settings travel beside it."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from branchtrack.errors import CheckpointMismatch
from branchtrack.training import rng
from branchtrack.training.record import commits
from branchtrack.training.settings import apply
from branchtrack.training.settings.apply import Live
from branchtrack.training.state import snapshots
from branchtrack.training.state.buffers import Buffers
from branchtrack.training.state.snapshots import Snapshot
from tests.training import tiny


def live(model: torch.nn.Module | None = None, **options: Any) -> Live:
    """A model with its optimizer and scheduler."""
    made = tiny.normed() if model is None else model
    given = {"lr": 0.01, "weight_decay": 0.1, **options}
    optimizer = torch.optim.AdamW(made.parameters(), **given)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.9**step)
    return Live(made, optimizer, scheduler, SimpleNamespace(max_grad_norm=1.0), [True])


def train(found: Live, steps: int = 3) -> None:
    """Some updates on fixed data."""
    data = tiny.Vectors()
    batch = {name: torch.stack([data[i][name] for i in range(8)]) for name in ("x", "labels")}
    for _ in range(steps):
        found.model.train()
        found.model(**batch)["loss"].backward()
        found.optimizer.step()
        found.scheduler.step()
        found.optimizer.zero_grad()


def snap(found: Live, **extra: Any) -> Snapshot:
    return snapshots.capture(found, extra, Buffers())


def digest(snapshot: Snapshot) -> str:
    return commits.digests(snapshot)[0].digest


def test_a_restored_training_goes_on_in_the_same_bits() -> None:
    first, second = live(), live(tiny.normed(seed=2))
    train(first)
    snapshot = copy.deepcopy(snap(first, place=5))
    assert snapshots.restore(second, snapshot) == {"place": 5}
    rng.restore(snapshots.random_state(snapshot))
    train(second, 2)
    found = digest(snap(second))
    rng.restore(snapshots.random_state(snapshot))
    train(first, 2)
    assert found == digest(snap(first))


def test_restoring_leaves_the_random_generators_to_the_loop() -> None:
    second, snapshot = live(), snap(live())
    torch.manual_seed(99)
    before = torch.get_rng_state()
    snapshots.restore(second, snapshot)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_snapshot_stays_as_it_was_while_training_goes_on() -> None:
    found, buffers = live(), Buffers()
    train(found, 1)
    snapshot = snapshots.capture(found, {}, buffers)
    before = digest(snapshot)
    train(found, 1)
    assert digest(snapshot) == before
    assert digest(snapshots.capture(found, {}, buffers)) != before


def test_the_memory_of_snapshots_is_used_again() -> None:
    found, buffers = live(), Buffers()
    train(found, 1)
    first = snapshots.capture(found, {}, buffers)
    held = {name: tensor.data_ptr() for name, tensor in first.tensors.items()}
    second = snapshots.capture(found, {}, buffers)
    assert {name: tensor.data_ptr() for name, tensor in second.tensors.items()} == held


def test_tied_tensors_are_copied_once_and_untied_ones_apart() -> None:
    model, buffers = torch.nn.ModuleList([torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)]), Buffers()
    model[1].weight = model[0].weight
    tied = buffers.copy(dict(model.state_dict()))
    assert tied["0.weight"] is tied["1.weight"]
    model[1].weight = torch.nn.Parameter(torch.zeros(4, 4))
    untied = buffers.copy(dict(model.state_dict()))
    assert torch.equal(untied["0.weight"], model[0].weight)
    assert torch.equal(untied["1.weight"], torch.zeros(4, 4))


def test_buffers_that_no_state_dict_holds_are_part_of_the_state() -> None:
    first = live()
    train(first)
    second = live(tiny.normed(seed=2))
    snapshots.restore(second, snap(first))
    assert "noise" not in first.model.state_dict()
    assert torch.equal(second.model.noise, first.model.noise) and first.model.noise.abs().sum() > 0


def test_settings_are_no_part_of_the_digest() -> None:
    found = live()
    train(found)
    before = digest(snap(found))
    apply.write_all(found, {"lr": 0.5, "weight_decay": 0.0, "max_grad_norm": 3.0})
    assert digest(snap(found)) == before


CHANGES: dict[str, Callable[[Live], object]] = {
    "a weight": lambda found: found.model.head.bias.data.add_(1e-6),
    "a buffer": lambda found: found.model.norm.running_mean.add_(1e-6),
    "a hidden buffer": lambda found: found.model.noise.add_(1e-6),
    "a moment": lambda found: found.optimizer.state[found.model.head.bias]["exp_avg"].add_(1e-6),
    "a count": lambda found: found.optimizer.state[found.model.head.bias]["step"].add_(1),
    "the schedule": lambda found: found.scheduler.step(),
    "what is frozen": lambda found: found.model.first.requires_grad_(False),
    "a dropout": lambda found: setattr(found.model.drop, "p", 0.3),
    "torch's generator": lambda found: torch.rand(1),
    "python's generator": lambda found: random.random(),
    "numpy's generator": lambda found: np.random.rand(),
}


@pytest.mark.parametrize("what", CHANGES)
def test_everything_else_is_part_of_the_digest(what: str) -> None:
    found = live()
    train(found)
    before = digest(snap(found))
    CHANGES[what](found)
    assert digest(snap(found)) != before


def test_groups_come_back_with_their_settings() -> None:
    first, second = live(betas=(0.8, 0.9)), live(lr=0.5, weight_decay=0.0)
    train(first)
    snapshots.restore(second, snap(first))
    group = second.groups[0]
    assert (group["betas"], group["weight_decay"]) == ((0.8, 0.9), 0.1)
    assert (group["lr"], group["initial_lr"]) == (first.groups[0]["lr"], 0.01)
    assert second.scheduler.base_lrs == [0.01]
    assert second.scheduler.get_last_lr() == [group["lr"]]


def test_a_rate_kept_as_a_tensor_stays_one() -> None:
    first = live(lr=torch.tensor(0.01, dtype=torch.float64), capturable=False, foreach=False)
    train(first)
    second = live(lr=torch.tensor(0.5, dtype=torch.float64), capturable=False, foreach=False)
    held = second.groups[0]["lr"]
    snapshots.restore(second, snap(first))
    assert second.groups[0]["lr"] is held and held.item() == apply.number(first.groups[0]["lr"])


def test_frozen_parameters_and_dropout_come_back() -> None:
    first, second = live(), live()
    first.model.head.requires_grad_(False)
    first.model.drop.p = 0.7
    second.model.first.requires_grad_(False)
    snapshots.restore(second, snap(first))
    flags = {name: p.requires_grad for name, p in second.model.named_parameters()}
    assert flags == {name: p.requires_grad for name, p in first.model.named_parameters()}
    assert second.model.drop.p == 0.7


def test_moments_of_a_bfloat16_model_keep_their_own_dtype() -> None:
    first = live(tiny.normed().to(torch.bfloat16))
    for parameter in first.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    first.optimizer.step()
    weight = first.model.head.weight
    first.optimizer.state[weight]["exp_avg"] = torch.full((2, 8), 0.1, dtype=torch.float32)
    second = live(tiny.normed(seed=2).to(torch.bfloat16))
    snapshots.restore(second, snap(first))
    moment = second.optimizer.state[second.model.head.weight]["exp_avg"]
    assert moment.dtype == torch.float32 and moment[0, 0] == torch.tensor(0.1)


class Wider(tiny.Normed):
    """One layer of another shape."""

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(8, 3)


class More(tiny.Normed):
    """One layer more."""

    def __init__(self) -> None:
        super().__init__()
        self.extra = torch.nn.Linear(2, 2)


def with_optimizer(make: Callable[[torch.nn.Module], torch.optim.Optimizer]) -> Live:
    found = live()
    found.optimizer = make(found.model)
    return found


def with_scheduler(make: Callable[[torch.optim.Optimizer], Any]) -> Live:
    found = live()
    found.scheduler = make(found.optimizer)
    return found


MISFITS: dict[str, tuple[Callable[[], Live], list[str]]] = {
    "shape": (lambda: live(Wider()), ["(3, 8)", "(2, 8)", "head.weight"]),
    "tensors": (lambda: live(More()), ["extra.weight"]),
    "dtype": (lambda: live(tiny.normed().double()), ["float64", "float32"]),
    "optimizer": (
        lambda: with_optimizer(lambda model: torch.optim.SGD(model.parameters(), lr=0.1)),
        ["SGD", "AdamW"],
    ),
    "groups": (
        lambda: with_optimizer(lambda model: torch.optim.AdamW(model.head.parameters(), lr=0.1)),
        ["parameter groups", "first.weight"],
    ),
    "scheduler": (
        lambda: with_scheduler(lambda o: torch.optim.lr_scheduler.StepLR(o, 3)),
        ["StepLR", "LambdaLR"],
    ),
    "no scheduler": (lambda: with_scheduler(lambda o: None), ["None", "LambdaLR"]),
}


@pytest.mark.parametrize("what", MISFITS)
def test_objects_that_do_not_fit_are_refused_with_both_values(what: str) -> None:
    make, words = MISFITS[what]
    first = live()
    train(first)
    snapshot, second = snap(first), make()
    with pytest.raises(CheckpointMismatch) as caught:
        snapshots.restore(second, snapshot)
    assert [word for word in words if word not in str(caught.value)] == []
    assert "No training was done" in str(caught.value)


@pytest.mark.parametrize(
    "state", [torch.eye(3).to_sparse(), torch.zeros(2, dtype=torch.complex64), object()]
)
def test_state_that_cannot_be_stored_is_refused_at_once(state: Any) -> None:
    found = live()
    found.optimizer.state[found.model.head.bias]["odd"] = state
    with pytest.raises(CheckpointMismatch, match="head.bias/odd"):
        snap(found)


def test_a_model_with_a_sparse_buffer_is_refused_at_once() -> None:
    found = live()
    found.model.register_buffer("links", torch.eye(3).to_sparse())
    with pytest.raises(CheckpointMismatch, match="model/links"):
        snap(found)


def test_parameters_outside_the_model_are_known_by_their_place() -> None:
    extra = torch.nn.Parameter(torch.ones(2))
    found = live()
    found.optimizer.add_param_group({"params": [extra]})
    assert snapshots.parameter_names(found)[1] == ["group1.0"]
