"""Plain loops that take some hundredths of a second, as a script writes them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch.utils.data import DataLoader, Dataset

import branchtrack
from branchtrack.core.records import Launch
from branchtrack.environment_variables import LAUNCH_VARIABLE
from branchtrack.training.loop.run import Run
from branchtrack.training.session import ordinals
from tests.training.homes import Home
from tests.training.matrix import draw

SAMPLES, BATCH, STEPS = 26, 4, 9

Sample = tuple[torch.Tensor, torch.Tensor]


class Points(Dataset[Sample]):
    """Random vectors with a class each, changed by a random number when they are read."""

    def __init__(self, draws: str = "nothing", count: int = SAMPLES) -> None:
        self.draws, self.count = draws, count
        self.read: list[int] = []

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        self.read.append(index)
        x = torch.randn(6, generator=torch.Generator().manual_seed(index))
        return x + draw(self.draws), (x.sum() > 0).long()


class Flow(torch.utils.data.IterableDataset[Sample]):
    """The same without a length, shared among workers."""

    def __init__(self, draws: str = "nothing", count: int = SAMPLES) -> None:
        self.points, self.count = Points(draws, count), count

    def __iter__(self) -> Iterator[Sample]:
        worker = torch.utils.data.get_worker_info()
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for index in range(first, self.count, step):
            yield self.points[index]


def net(dropout: float = 0.2) -> torch.nn.Module:
    """Two layers with batch norm and dropout between."""
    torch.manual_seed(1)
    return torch.nn.Sequential(
        torch.nn.Linear(6, 8),
        torch.nn.BatchNorm1d(8),
        torch.nn.ReLU(),
        torch.nn.Dropout(dropout),
        torch.nn.Linear(8, 2),
    )


def sgd(model: torch.nn.Module, lr: float = 0.1) -> torch.optim.Optimizer:
    """SGD with momentum."""
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)


def loader(order: str = "random", data: Any = None, **given: Any) -> DataLoader[Any]:
    """A loader: ``random``, ``sequential`` or ``generator``, for one of its own."""
    dataset = Points() if data is None else data
    if order == "generator":
        given["generator"] = torch.Generator().manual_seed(3)
    shuffle = None if isinstance(dataset, Flow) else order != "sequential"
    return DataLoader(dataset, **{"batch_size": BATCH, "shuffle": shuffle, **given})


@contextmanager
def process(home: Home, launch: Launch | None = None) -> Iterator[None]:
    """As in a process that was started in this home, of itself or launched."""
    ordinals.reset()
    extra = {LAUNCH_VARIABLE: launch.id} if launch else {}
    with mock.patch.dict(os.environ, {**home.config.environment(), **extra}):
        yield


def loss_of(model: torch.nn.Module, batch: Sample) -> torch.Tensor:
    """The loss of one batch."""
    return torch.nn.functional.cross_entropy(model(batch[0]), batch[1])


def train(
    home: Home,
    launch: Launch | None = None,
    *,
    model: Callable[[], torch.nn.Module] = net,
    optimizer: Callable[[torch.nn.Module], torch.optim.Optimizer] = sgd,
    scheduler: Callable[[Any], Any] | None = None,
    data: Callable[[], Any] = loader,
    accumulation: int = 1,
    evaluated: bool = False,
    at: Callable[[Run, Any], None] = lambda run, optimizer: None,
    **given: Any,
) -> Run:
    """A whole loop, everything in it made anew; ``at`` is called before each `Run.step`."""
    made = model()
    optimizer_, source = optimizer(made), data()
    schedule = scheduler(optimizer_) if scheduler else None

    def evaluate() -> dict[str, float]:
        made.eval()
        held_out = DataLoader(Points("torch", 8), batch_size=4, shuffle=True)
        with torch.no_grad():
            return {"eval_loss": sum(float(loss_of(made, batch)) for batch in held_out)}

    with process(home, launch):
        run = branchtrack.start(
            "tiny",
            model=made,
            optimizer=optimizer_,
            scheduler=schedule,
            data=source,
            **{"max_steps": STEPS, "save_steps": 1, "evaluate": evaluate, "seed": 5, **given},
        )
    with run:
        for number, batch in enumerate(run.batches(), 1):
            loss = loss_of(made, batch)
            (loss / accumulation).backward()
            if number % accumulation:
                continue
            _update(optimizer_, schedule, loss)
            run.log(loss=loss, lr=optimizer_.param_groups[0]["lr"])
            if evaluated and run.step_number % 2:
                run.evaluate()
            at(run, optimizer_)
            if run.step():
                break
    return run


def _update(optimizer: torch.optim.Optimizer, schedule: Any, loss: torch.Tensor) -> None:
    optimizer.step()
    optimizer.zero_grad()
    if isinstance(schedule, torch.optim.lr_scheduler.ReduceLROnPlateau):
        schedule.step(float(loss.detach()))
    elif schedule is not None:
        schedule.step()


def logged(home: Home, segment: str, after: int = 0) -> dict[str, dict[int, float]]:
    """What was logged in a segment behind a step."""
    found = {name: home.points(name, segment) for name in ("loss", "lr", "eval_loss")}
    return {name: {s: v for s, v in points.items() if s > after} for name, points in found.items()}


def resumes_exactly(home: Home, how: dict[str, Any], *, every: int = 1) -> None:
    """Train, and resume every node of it: the same final state and the same values logged.

    There is a node at every ``every``-th step; the root is resumed where there is one at each.
    """
    train(home, **{"save_steps": every, **how})
    whole, final = home.segment().id, home.final()
    made = home.nodes()[:-1]
    assert final.kind == "final"
    assert [node.step for node in made] == list(range(0, final.step, every))
    resumed = made if every == 1 else made[1:]
    assert resumed
    for node in resumed:
        launch = home.order(node, {"save_steps": 1000})
        train(home, launch, **how)
        assert home.final(launch).state_digest == final.state_digest, f"state from {node.step}"
        found = logged(home, launch.segment_id)
        assert found == logged(home, whole, node.step), f"logged from {node.step}"
        effective = home.fork(launch).effective
        assert effective is not None and effective["verified"] is True, effective


def train_folds(home: Home, count: int, stop: int | None = None) -> list[int]:
    """Train some folds, the second until an update; returns the fold of each update made."""
    made: list[int] = []
    with process(home):
        for fold in range(count):
            model = net()
            optimizer = sgd(model)
            with branchtrack.start(
                f"fold{fold}",
                model=model,
                optimizer=optimizer,
                seed=1,
                data=loader(),
                max_steps=4,
                save_steps=2,
            ) as run:
                for batch in run.batches():
                    loss_of(model, batch).backward()
                    optimizer.step()
                    made.append(fold)
                    if fold == 1 and run.update == stop:
                        raise KeyboardInterrupt
                    run.step()
    return made
