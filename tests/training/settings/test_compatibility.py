"""Options that do not fit the state of an optimizer are refused, live and at a resume."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import optim

from branchtrack.errors import InvalidInput
from branchtrack.training import rng
from branchtrack.training.settings import apply
from branchtrack.training.settings.live import Live
from tests.training import loops
from tests.training.homes import Home


def plain(model: torch.nn.Module) -> optim.Optimizer:
    return optim.RMSprop(model.parameters(), lr=0.01)


class Picky(optim.SGD):
    """Its state holds a list that each step changes in place, and it draws random numbers."""

    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                state.setdefault("sums", [torch.zeros(())])[0].add_(1)
                torch.rand(())
                if group["dampening"] > 0.5:
                    raise RuntimeError("too damp")


class Stuck(Picky):
    def step(self, closure: Any) -> None:
        """Wants a closure, so that it cannot be tried."""
        super().step()


def live_of(optimizer: optim.Optimizer, model: torch.nn.Module, closure: tuple[Any, ...]) -> Live:
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step(*closure)
    return Live(model, optimizer, None, None, [True] * len(optimizer.param_groups))


def test_an_option_that_the_state_was_not_made_for_is_refused_by_name() -> None:
    model = torch.nn.Linear(2, 2)
    live = live_of(plain(model), model, ())
    before = copy.deepcopy(live.optimizer.state_dict())
    with pytest.raises(InvalidInput, match="^momentum=0.5 cannot.*'momentum_buffer'") as caught:
        apply.write_all(live, {"lr": 0.2, "momentum": 0.5})
    assert caught.value.field == "momentum"
    after = live.optimizer.state_dict()
    assert after["param_groups"] == before["param_groups"]
    assert str(after["state"]) == str(before["state"])
    assert apply.write_all(live, {"lr": 0.2}) == {"lr": 0.2}
    live.optimizer.step()


def test_state_that_is_not_made_yet_fits_everything() -> None:
    model = torch.nn.Linear(2, 2)
    live = Live(model, plain(model), None, None, [True])
    assert apply.write_all(live, {"momentum": 0.5}) == {"momentum": 0.5}


def test_trying_leaves_state_and_random_numbers_alone() -> None:
    model = torch.nn.Linear(2, 2)
    live = live_of(Picky(model.parameters(), 0.1), model, ())
    before = rng.capture()
    with pytest.raises(InvalidInput, match="too damp"):
        apply.write_all(live, {"dampening": 0.9})
    assert apply.write_all(live, {"dampening": 0.2}) == {"dampening": 0.2}
    assert [float(state["sums"][0]) for state in live.optimizer.state.values()] == [1.0, 1.0]
    assert torch.equal(before["torch"], rng.capture()["torch"])


def test_nothing_is_concluded_of_what_cannot_be_tried() -> None:
    model = torch.nn.Linear(2, 2)
    live = live_of(Stuck(model.parameters(), 0.1), model, (None,))
    assert apply.write_all(live, {"dampening": 0.9}) == {"dampening": 0.9}


def test_a_resume_is_refused_before_any_training(home: Home) -> None:
    loops.train(home, optimizer=plain, max_steps=3)
    launch = home.order(home.node(2), {"momentum": 0.5})
    with pytest.raises(InvalidInput, match="momentum_buffer"):
        loops.train(home, launch, optimizer=plain, max_steps=3)
    assert not home.points("loss", launch.segment_id)
