"""Numbered moments get the parameters they belong to, or are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler as schedules
from transformers import Adafactor, Trainer

from branchtrack.errors import InvalidInput
from branchtrack.training.imports import optimizers
from tests.matrices import some
from tests.training import tiny

HERE = Path("checkpoint-1")
KINDS: dict[str, Any] = {
    "AdamW": torch.optim.AdamW,
    "Adam": torch.optim.Adam,
    "SGD": lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9),
    "Adagrad": torch.optim.Adagrad,
    "RMSprop": torch.optim.RMSprop,
    "NAdam": torch.optim.NAdam,
    "RAdam": torch.optim.RAdam,
    "Adamax": torch.optim.Adamax,
    "Adadelta": torch.optim.Adadelta,
    "Adafactor": lambda p, lr: Adafactor(p, lr, relative_step=False),
}


def trained(kind: Any, model: torch.nn.Module, groups: Any = None) -> Any:
    """An optimizer after an update."""
    optimizer = kind(model.parameters() if groups is None else groups, lr=1e-3)
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    return optimizer


def split(model: torch.nn.Module) -> list[dict[str, Any]]:
    """The groups that a Trainer makes."""
    decayed = set(Trainer.get_decay_parameter_names(None, model))
    named = list(model.named_parameters())
    return [
        {"params": [p for n, p in named if n in decayed], "weight_decay": 0.1},
        {"params": [p for n, p in named if n not in decayed], "weight_decay": 0.0},
    ]


@pytest.mark.parametrize("kind", some(KINDS, "AdamW", "Adam", "Adafactor"))
def test_a_class_is_known_by_the_options_of_its_groups(kind: str) -> None:
    model = tiny.gpt()
    before = trained(KINDS[kind], model)
    state = before.state_dict()
    rebuilt = optimizers.rebuild(HERE, model, state)
    assert type(rebuilt).__name__ == kind
    after = rebuilt.state_dict()
    assert after["param_groups"] == state["param_groups"]
    for number, entry in state["state"].items():
        for key, value in entry.items():
            other = after["state"][number][key]
            same = torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other
            assert same, (number, key)


def test_each_moment_is_that_of_its_parameter_in_the_groups_of_a_trainer() -> None:
    model = tiny.gpt()
    before = trained(torch.optim.AdamW, model, split(model))
    rebuilt = optimizers.rebuild(HERE, model, before.state_dict())
    for parameter in model.parameters():
        assert torch.equal(rebuilt.state[parameter]["exp_avg"], before.state[parameter]["exp_avg"])


def test_names_in_the_file_say_which_parameter_it_is() -> None:
    model = tiny.gpt()
    named = [{"params": list(model.named_parameters())[::-1]}]
    before = trained(torch.optim.AdamW, model, named)
    rebuilt = optimizers.rebuild(HERE, model, before.state_dict())
    wte = model.transformer.wte.weight
    assert torch.equal(rebuilt.state[wte]["exp_avg"], before.state[wte]["exp_avg"])


def test_a_file_of_an_older_torch_is_that_of_adamw() -> None:
    model = tiny.gpt()
    state = trained(torch.optim.AdamW, model).state_dict()
    for group in state["param_groups"]:
        del group["decoupled_weight_decay"], group["fused"]
    assert type(optimizers.rebuild(HERE, model, state)) is torch.optim.AdamW


def test_what_may_be_of_other_parameters_is_refused_by_its_count() -> None:
    model = tiny.gpt()
    # Its groups are turned round, or some of its parameters were frozen.
    turned = trained(torch.optim.AdamW, model, split(model)[::-1])
    model.transformer.wpe.weight.requires_grad_(False)
    fewer = [p for p in model.parameters() if p.requires_grad]
    frozen = trained(torch.optim.AdamW, model, fewer)
    wider = trained(torch.optim.AdamW, tiny.gpt(width=32))
    for optimizer in (turned, frozen, wider):
        with pytest.raises(InvalidInput, match=r"its \d+ tensors cannot be assigned") as refused:
            optimizers.rebuild(HERE, model, optimizer.state_dict())
        assert "--weights-only" in refused.value.allowed


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"state": {}, "param_groups": []},
        {"state": [], "param_groups": [{"params": [0], "lr": 1}]},
        {"state": {0: 1}, "param_groups": [{"params": [0], "lr": 1}]},
        {"state": {}, "param_groups": [{"params": [0], "lr": 1, "own": 2}]},
        {"state": {5: {}}, "param_groups": [{"params": [0], "lr": 1}]},
    ],
)
def test_what_is_no_state_of_a_known_optimizer_is_refused(state: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="cannot be assigned"):
        optimizers.rebuild(HERE, tiny.gpt(), state)


def test_a_schedule_is_known_by_its_state() -> None:
    optimizer = torch.optim.SGD(tiny.gpt().parameters(), lr=1.0)
    for made in (
        schedules.LambdaLR(optimizer, lambda step: 1.0),
        schedules.ReduceLROnPlateau(optimizer),
        schedules.StepLR(optimizer, 2),
        schedules.MultiStepLR(optimizer, [2]),
        schedules.CosineAnnealingLR(optimizer, 3),
        schedules.ExponentialLR(optimizer, 0.9),
    ):
        stored = optimizers.schedule(HERE, made.state_dict())
        assert type(stored).__name__ == type(made).__name__
        assert stored.state_dict() == made.state_dict()
    with pytest.raises(InvalidInput, match="scheduler.pt is refused"):
        optimizers.schedule(HERE, {"own": 1})
