"""Fresh weights for a part of a model leave the rest and forget the optimizer's state of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from branchtrack.errors import InvalidInput
from branchtrack.training.settings.live import Live
from branchtrack.training.steer.reset import reset


class Bare(torch.nn.Module):
    """A module that cannot be initialised."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(2))


class Net(torch.nn.Module):
    """A trunk of two layers, a head, and a module without an initialisation."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = torch.nn.Sequential(
            torch.nn.Linear(2, 2), torch.nn.ReLU(), torch.nn.Linear(2, 2)
        )
        self.head = torch.nn.Linear(2, 1)
        self.bare = Bare()


@pytest.fixture
def live() -> Live:
    """A model that has been trained for one update."""
    model = Net()
    optimizer = torch.optim.AdamW(model.parameters(), 0.1)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(9.0)
    return Live(model, optimizer, None, SimpleNamespace(), [True])


def untouched(live: Live) -> set[str]:
    return {
        name
        for name, parameter in live.model.named_parameters()
        if bool((parameter == 9.0).all()) and parameter in live.optimizer.state
    }


def test_a_module_and_all_below_it_are_fresh_and_nothing_else(live: Live) -> None:
    assert reset(live, "trunk") == {
        "modules": ["trunk", "trunk.0", "trunk.1", "trunk.2"],
        "parameters": 12,
    }
    assert untouched(live) == {"head.weight", "head.bias", "bare.scale"}


def test_patterns_separated_by_commas_choose_modules(live: Live) -> None:
    assert reset(live, "trunk.[2], head")["modules"] == ["head", "trunk.2"]
    assert "trunk.0.weight" in untouched(live) and "trunk.2.weight" not in untouched(live)


def test_an_initialisation_of_the_models_own_comes_after_the_modules(live: Live) -> None:
    def init_weights(module: Any) -> None:
        module.weight.fill_(0.5)

    model: Any = live.model
    model._init_weights = init_weights
    reset(live, "head")
    assert model.head.weight.tolist() == [[0.5, 0.5]] and model.head.bias.item() != 9.0


@pytest.mark.parametrize("text", ["nope", "head, nope", "bare", "head, bare", "trunk.1", "", ","])
def test_what_cannot_be_reset_is_refused_and_nothing_is_changed(live: Live, text: str) -> None:
    before = untouched(live)
    with pytest.raises(InvalidInput) as caught:
        reset(live, text)
    assert caught.value.field == "modules" and untouched(live) == before


def test_the_random_numbers_are_those_of_training(live: Live) -> None:
    model: Any = live.model
    torch.manual_seed(0)
    reset(live, "head")
    first = model.head.weight.clone()
    torch.manual_seed(0)
    reset(live, "head")
    assert torch.equal(model.head.weight, first)
