"""Numbers of numpy in optimizers, schedules and objects are the same after a resume."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR

from tests.training import loops
from tests.training.homes import Home


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_schedule_that_reckons_with_numpy_is_resumed_exactly(kind: Any, home: Home) -> None:
    def optimizer(model: torch.nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=kind(0.1), momentum=0.9)

    def decay(step: int) -> Any:
        return kind(0.9) ** step

    how = {"optimizer": optimizer, "scheduler": lambda o: LambdaLR(o, decay)}
    loops.resumes_exactly(home, how, every=4)


class Mean:
    """An average in the precision that it was begun in."""

    def __init__(self) -> None:
        self.value, self.kinds = np.float32(0.1), set[type]()

    def add(self, value: float) -> None:
        self.value = np.float32(0.9) * self.value + np.float32(value)
        self.kinds.add(type(self.value))

    def state_dict(self) -> dict[str, Any]:
        return {"value": self.value}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.value = state["value"]
        self.kinds.add(type(self.value))


def test_an_object_gets_its_numbers_back_as_what_they_were(home: Home) -> None:
    means: list[Mean] = []

    def train(launch: Any = None) -> None:
        means.append(Mean())
        loops.train(
            home, launch, objects={"mean": means[-1]}, at=lambda run, _: means[-1].add(run.update)
        )

    train()
    train(home.order(home.node(4)))
    assert means[0].kinds == means[1].kinds == {np.float32}
    assert means[0].value == means[1].value
