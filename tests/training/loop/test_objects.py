"""What could not be restored later is refused before anything is trained, by its name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler as schedulers
from torch.utils.data import DataLoader

from branchtrack.errors import InvalidInput
from branchtrack.training.loop import objects as loop_objects


def net() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))


def sgd(model: torch.nn.Module, **options: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), 0.1, **options)


class Stateful:
    """An object with a state."""

    def __init__(self, state: Any) -> None:
        self.state = state

    def state_dict(self) -> Any:
        return self.state

    def load_state_dict(self, state: Any) -> None:
        self.state = state


def refused(*arguments: Any, **settings: Any) -> str:
    """The name of the argument that is refused."""
    with pytest.raises(InvalidInput) as caught:
        loop_objects.live_objects(*arguments, settings)
    return caught.value.field


def test_several_models_become_parts_of_one() -> None:
    models = {"maker": net(), "judge": net()}
    optimizers = {name: sgd(model, weight_decay=0.1) for name, model in models.items()}
    live = loop_objects.live_objects(models, optimizers, None, {})
    assert {name.partition(".")[0] for name, _ in live.model.named_parameters()} == set(models)
    assert live.decayed == [True, True] and live.is_several


def test_what_is_no_model_or_optimizer_is_refused() -> None:
    model = net()
    optimizer = sgd(model)
    assert refused(object(), optimizer, None) == "model"
    assert refused(model, object(), None) == "optimizer"
    for name in ("scheduler", "a.b", "model"):
        assert refused(model, {name: optimizer}, None) == "optimizer"


def test_a_scheduler_of_another_optimizer_is_refused() -> None:
    model = net()
    optimizer, other = sgd(model), sgd(model)
    schedule = schedulers.StepLR(other, 1)
    assert refused(model, optimizer, schedule) == "scheduler"
    assert refused(model, {"a": optimizer}, {"a": schedule}) == "scheduler"
    assert refused(model, {"a": optimizer}, {"b": schedule}) == "scheduler"
    assert loop_objects.live_objects(model, other, schedule, {}).scheduler is schedule


def test_parameters_that_are_not_the_models_are_refused() -> None:
    assert refused(net(), sgd(net()), None) == "model"


def test_a_setting_that_the_optimizer_has_already_is_refused() -> None:
    model = net()
    assert refused(model, sgd(model), None, lr=0.1) == "settings"
    live = loop_objects.live_objects(model, sgd(model), None, {"alpha": 0.5})
    assert live.values is not None and live.values["alpha"] == 0.5


def test_an_object_whose_state_cannot_be_stored_is_named() -> None:
    loop_objects.check_objects({"mean": Stateful({"value": torch.zeros(1), "names": {"a"}})})
    for instance in (object(), Stateful({"file": object()})):
        with pytest.raises(InvalidInput) as caught:
            loop_objects.check_objects({"mean": instance})
        assert caught.value.field == "objects['mean']"


def test_what_no_test_covers_is_listed() -> None:
    class Own(torch.optim.SGD):
        """An optimizer of the script's own."""

    model = net()
    plain = loop_objects.live_objects(model, sgd(model), None, {})
    assert loop_objects.untested(plain, DataLoader([1]), {}) == []
    live = loop_objects.live_objects(model, Own(model.parameters(), 0.1), None, {})
    lines = loop_objects.untested(live, [1], {"mean": Stateful(1)})
    assert [line.split()[0] for line in lines] == ["the", "data", "the"]
    assert "Own" in lines[0] and "'mean'" in lines[2]


def test_what_accelerate_has_wrapped_is_unwrapped() -> None:
    optimizer = object()
    wrapper = type("Wrapper", (), {"__module__": "accelerate.optimizer", "optimizer": optimizer})()
    assert loop_objects.bare({"a": wrapper, "b": optimizer}, "optimizer") == {
        "a": optimizer,
        "b": optimizer,
    }
    assert loop_objects.bare(None, "optimizer") is None
