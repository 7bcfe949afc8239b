"""Three small tasks, and what is trained of them: a trunk, its forks, and the same from scratch.

Trunks and forks are trained by branchtrack, forks by its own resume within this process. What is
trained from scratch is plain torch, with the same model, optimizer, batches and held-out loss.
"""

from __future__ import annotations

import copy
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

import branchtrack
from branchtrack import config
from branchtrack.db import nodes
from branchtrack.db.schema import open_database
from branchtrack.environment_variables import HOME_VARIABLE
from branchtrack.examples.studies.tasks import text

Tensors = tuple[torch.Tensor, ...]
DROPOUT, METRIC = 0.1, "eval_loss"


@dataclass(frozen=True)
class Task:
    """A model, its data and its optimizer; ``parts`` are the data to train on and those held out.

    ``at`` is the step of the node that forks begin at.
    """

    name: str
    build: Callable[[], nn.Module]
    parts: Callable[[], tuple[Tensors, Tensors]]
    loss: Callable[[nn.Module, Tensors], torch.Tensor]
    optimizer: Callable[[nn.Module], torch.optim.Optimizer]
    batch: int
    at: int = 150


@dataclass(frozen=True)
class End:
    """Where a training ended: the held-out loss (None if it is no finite number), the state."""

    value: float | None
    digest: str = ""


@cache
def digits() -> tuple[Tensors, Tensors]:
    """Return scikit-learn's digits as pixels (n, 64) of 0 to 1 with their labels (n)."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return _split(torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(labels))


@cache
def friedman() -> tuple[Tensors, Tensors]:
    """Return scikit-learn's first problem of Friedman: rows (n, 10) and standardised targets."""
    from sklearn.datasets import make_friedman1

    rows, targets = make_friedman1(2000, noise=1.0, random_state=0)
    scaled = (targets - targets.mean()) / targets.std()
    columns = torch.tensor(scaled, dtype=torch.float32)[:, None]
    return _split(torch.tensor(rows, dtype=torch.float32), columns)


@cache
def documentation() -> tuple[Tensors, Tensors]:
    """Return the windows of bytes of the studies' text."""
    parts = text.parts()
    return (parts["train"],), (parts["validation"][::2],)


def _split(*columns: torch.Tensor) -> tuple[Tensors, Tensors]:
    order = torch.randperm(len(columns[0]), generator=torch.Generator().manual_seed(0))
    held = len(order) // 4
    train, held_out = order[held:], order[:held]
    return tuple(c[train] for c in columns), tuple(c[held_out] for c in columns)


def _perceptron(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(inputs, 64), nn.ReLU(), nn.Dropout(DROPOUT),
        nn.Linear(64, 64), nn.ReLU(), nn.Dropout(DROPOUT),
        nn.Linear(64, outputs),
    )  # fmt: skip


def _network() -> nn.Module:
    model = text.Network(32)
    model.blocks.layers = model.blocks.layers[:1]
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = DROPOUT
    return model


def _adamw(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.1)


def _sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-3)


def _classified(model: nn.Module, batch: Tensors) -> torch.Tensor:
    return cross_entropy(model(batch[0]), batch[1])


TASKS = {
    task.name: task
    for task in (
        Task("digits", lambda: _perceptron(64, 10), digits, _classified, _adamw, 32),
        Task(
            "regression",
            lambda: _perceptron(10, 1),
            friedman,
            lambda model, batch: mse_loss(model(batch[0]), batch[1]),
            _sgd,
            32,
        ),
        Task(
            "text",
            _network,
            documentation,
            lambda model, batch: text.loss(model, batch[0]),
            _adamw,
            4,
        ),
    )
}


def held_out(task: Task, model: nn.Module) -> float:
    """Return the loss of a model on what is held out."""
    model.eval()
    with torch.no_grad():
        value = float(task.loss(model, task.parts()[1]))
    model.train()
    return value


class Trunk:
    """A run in a home of its own, trained to ``steps`` updates beyond the node of its task."""

    def __init__(self, task: Task, seed: int, steps: int, home: Path) -> None:
        self.task, self.seed, self.steps = task, seed, steps
        self.forks, self._database = 0, open_database(config.load(home), create=True)
        self.end = self._train("main", max_steps=task.at + steps, save_steps=task.at)
        with self._database.read() as connection:
            (self.node,) = (
                node
                for node in map(lambda ref: nodes.get(connection, ref), nodes.list_ids(connection))
                if node.step == task.at
            )

    def fork(self, settings: Mapping[str, Any], seed: int | None) -> End:
        """Resume the node with changed settings and train on; ``seed`` None: as the trunk did."""
        self.forks += 1
        drawn = {} if seed is None else {"seed": seed, "reshuffle": True}
        return self._train(
            f"fork-{self.forks}",
            resume=self.node.id,
            branch=f"fork-{self.forks}",
            set={**settings, **drawn, "stop_at": f"+{self.steps}"},
            max_steps=self.task.at + self.steps,
            save_steps=self.task.at,
        )

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _train(self, trained: str, **how: Any) -> End:
        task = self.task
        torch.manual_seed(self.seed)
        model = task.build()
        optimizer = task.optimizer(model)
        # Without a scheduler branchtrack looks for one in the whole process, at each start.
        scheduler = LambdaLR(optimizer, lambda step: 1.0)
        run = branchtrack.start(
            None if "resume" in how else "trunk",
            model=model,
            optimizer=optimizer,
            scheduler=scheduler,
            data=DataLoader(_rows(task.name), task.batch, shuffle=True, drop_last=True),
            evaluate=lambda: {METRIC: held_out(task, model)},
            seed=self.seed,
            **how,
        )
        with run:
            for batch in run.batches():
                task.loss(model, tuple(batch)).backward()
                optimizer.step()
                optimizer.zero_grad()
                scheduler.step()
                if "resume" not in how and run.update == task.at + self.steps:
                    run.evaluate()
                if run.step():
                    break
        return self._end_of(trained)

    def _end_of(self, branch: str) -> End:
        with self._database.read() as connection:
            head = nodes.find(connection, f"trunk/{branch}")
        if head.step != self.task.at + self.steps:
            raise RuntimeError(f"{branch} ended at step {head.step}.")
        value = head.metrics.get(METRIC)
        is_finite = value is not None and math.isfinite(value)
        return End(value if is_finite else None, head.state_digest)


@cache
def _rows(name: str) -> list[Tensors]:
    """Return the rows that a task trains on one by one, which takes a tensor longer than a list."""
    return list(zip(*(column.unbind() for column in TASKS[name].parts()[0]), strict=True))


@contextmanager
def trunk_of(task: Task, seed: int, steps: int) -> Iterator[Trunk]:
    """Train a trunk in a temporary home, which is removed with it."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        with mock.patch.dict(os.environ, {HOME_VARIABLE: str(home)}):
            trunk = Trunk(task, seed, steps, home)
            try:
                yield trunk
            finally:
                trunk.close()


def from_scratch(
    task: Task, seed: int, steps: int, changes: Sequence[Mapping[str, Any]]
) -> list[float | None]:
    """Train to the node's step, then on with each of some changes; return the held-out losses."""
    torch.manual_seed(seed)
    model = task.build()
    optimizer = task.optimizer(model)
    batches = _batches(task, seed, task.at + steps)
    _updates(task, model, optimizer, batches[: task.at])
    drawn = torch.get_rng_state()
    values = []
    for settings in changes:
        torch.set_rng_state(drawn)
        own = copy.deepcopy(model)
        own_optimizer = task.optimizer(own)
        own_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        change(own, own_optimizer, settings)
        _updates(task, own, own_optimizer, batches[task.at :])
        value = held_out(task, own)
        values.append(value if math.isfinite(value) else None)
    return values


def change(model: nn.Module, optimizer: torch.optim.Optimizer, settings: Mapping[str, Any]) -> None:
    """Change dropout, and factors (``x0.5``) of what an optimizer uses, as a resume does."""
    for name, value in settings.items():
        if name == "dropout":
            for module in model.modules():
                if isinstance(module, nn.Dropout):
                    module.p = value
        else:
            for group in optimizer.param_groups:
                group[name] *= float(value.removeprefix("x"))


def _batches(task: Task, seed: int, updates: int) -> list[Tensors]:
    """Return that many batches: passes over the data in other orders, incomplete ones left out."""
    data = task.parts()[0]
    generator = torch.Generator().manual_seed(seed)
    chosen: list[torch.Tensor] = []
    while len(chosen) < updates:
        order = torch.randperm(len(data[0]), generator=generator)
        chosen += order[: len(order) // task.batch * task.batch].split(task.batch)
    return [tuple(column[indices] for column in data) for indices in chosen[:updates]]


def _updates(
    task: Task, model: nn.Module, optimizer: torch.optim.Optimizer, batches: Sequence[Tensors]
) -> None:
    for batch in batches:
        task.loss(model, batch).backward()
        optimizer.step()
        optimizer.zero_grad()
