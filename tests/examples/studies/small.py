"""A training of the studies' loop that takes a moment, in this process."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, TensorDataset

from branchtrack import config
from branchtrack.db.engine import Database
from branchtrack.environment_variables import HOME_VARIABLE
from branchtrack.examples.studies.tasks import loop, options
from branchtrack.training.session import ordinals


def task(losses: dict[str, float] | None = None) -> loop.Task:
    """A line through points, whose held-out losses are as they are given."""
    torch.manual_seed(0)
    model = torch.nn.Linear(2, 1)
    x = torch.randn(16, 2)
    loader = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), 4, shuffle=True)
    values = losses or {"validation": 0.5, "test": 0.7}
    return loop.Task(model, loader, lambda b: mse_loss(model(b[0]), b[1]), values.__getitem__)


def weights_of(model: torch.nn.Module) -> float:
    """The sum of a model's weights."""
    return float(sum(weight.detach().sum() for weight in model.parameters()))


class Falling:
    """Validation losses that are given in their order; the test loss is the sum of the weights.

    ``sums`` are those at each validation.
    """

    def __init__(self, losses: list[float]) -> None:
        self._losses = iter(losses)
        self.sums: list[float] = []

    def task(self) -> loop.Task:
        """A task that has these losses."""
        whole = task()

        def measure(part: str) -> float:
            total = weights_of(whole.model)
            if part == "test":
                return total
            self.sums.append(total)
            return next(self._losses)

        return replace(whole, measure=measure)


def chosen(*words: str) -> argparse.Namespace:
    """The options of a training."""
    return options.parser(None, name="small", lr=0.1, steps=6, every=2).parse_args(words)


def home(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Database:
    """The database of a home that trainings of this process use, as one that has just begun."""
    ordinals.reset()
    monkeypatch.setenv(HOME_VARIABLE, str(folder / "home"))
    return Database(config.load().database_url)
