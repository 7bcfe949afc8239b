"""Updates made again on the side, to see what a change has made of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.training import loops
from tests.training.homes import Home
from tests.training.test_controlling import ask, train


class Counting(torch.optim.SGD):
    """Keeps tensors in a list, and changes them in place."""

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for parameter in group["params"]:
                counts = self.state[parameter].setdefault("counts", [torch.zeros(1)])
                counts[0] += 1
        return super().step(closure)


class Hoarding(Counting):
    """Keeps something beside its state."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.seen = [torch.zeros(1)]

    def step(self, closure: Any = None) -> Any:
        self.seen[0] += 1
        return super().step(closure)


@pytest.mark.parametrize("kind", [Counting, Hoarding])
def test_a_step_on_the_side_reaches_no_real_optimizer(home: Home, kind: Any) -> None:
    made: list[Any] = []

    def optimizer(model: torch.nn.Module) -> Any:
        made.append(kind(model.parameters(), lr=0.1))
        return made[-1]

    (request,) = train(home, {3: [ask("set", values={"lr": 0.05})]}, optimizer=optimizer)
    assert request.state == "verified"
    assert {int(one["counts"][0]) for one in made[0].state.values()} == {loops.STEPS}
    assert kind is Counting or int(made[0].seen[0]) == loops.STEPS
    assert ("update" in (request.effective or {})) == (kind is Counting)
