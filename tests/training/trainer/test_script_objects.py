"""What a script's own objects ask for is compared with the node's script: no silent difference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR, SequentialLR, StepLR

from branchtrack.errors import CheckpointMismatch, InvalidInput
from tests.matrices import some
from tests.training import exact, tiny
from tests.training.homes import Home
from tests.training.ways import way_out


def own(make: Callable[[Any], Any] | None = None, **given: Any) -> dict[str, Any]:
    """A script that makes its optimizer, and its scheduler with ``make``."""

    def optimizers(model: torch.nn.Module) -> tuple[Any, Any]:
        optimizer = torch.optim.AdamW(model.parameters(), **{"lr": 0.01, **given})
        return optimizer, None if make is None else make(optimizer)

    return {"optimizers": optimizers}


def in_steps(size: int) -> Callable[[Any], Any]:
    return lambda optimizer: SequentialLR(
        optimizer,
        [StepLR(optimizer, size), CosineAnnealingLR(optimizer, 9)],
        milestones=[5],
    )


def activated(name: str, dropout: float = 0.2) -> Callable[[], Any]:
    """A GPT-2 with another activation, or other dropout."""

    def model() -> Any:
        found = tiny.gpt()
        found.config.activation_function = name
        found.config.resid_pdrop = dropout
        return found

    return model


def frozen() -> Any:
    found = tiny.gpt()
    found.transformer.wte.requires_grad_(False)
    return found


#: The script that made the node, the one that resumes it, and what the refusal names.
DIFFERING: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[str, ...]]] = {
    "the rate of its optimizer": (
        own(),
        own(lr=0.02),
        ("optimizer.lr", "0.02", "0.01", "--set lr=0.02"),
    ),
    "the betas of its optimizer": (
        own(),
        own(betas=(0.8, 0.99)),
        ("optimizer.betas", "0.8", "--set betas"),
    ),
    "a switch of its optimizer": (own(), own(amsgrad=True), ("optimizer.amsgrad", "--mode")),
    "the period of its scheduler": (
        own(lambda o: CosineAnnealingLR(o, 5)),
        own(lambda o: CosineAnnealingLR(o, 9)),
        ("scheduler.T_max", "9", "5"),
    ),
    "the peak of its scheduler": (
        own(lambda o: OneCycleLR(o, 0.02, total_steps=20)),
        own(lambda o: OneCycleLR(o, 0.04, total_steps=20)),
        ("0.04", "0.02", "--set lr="),
    ),
    "a part of its scheduler": (own(in_steps(3)), own(in_steps(2)), ("_schedulers", "2", "3")),
    "its scheduler": (own(), own(lambda o: StepLR(o, 3)), ("scheduler", "StepLR")),
    "the model's activation": (
        {},
        {"model": activated("relu")},
        ("activation_function", "relu", "gelu_new"),
    ),
    "what is frozen": ({}, {"model": frozen}, ("frozen", "transformer.wte", "--mode")),
    "what it is evaluated on": (
        {},
        {"held_out": tiny.Sentences(8)},
        ("eval_dataset_length", "8", "24"),
    ),
    "whether it evaluates": ({}, {"eval_strategy": "epoch"}, ("eval_strategy", "epoch", "no")),
    "what makes batches": (
        {},
        {"collator": lambda samples: torch.utils.data.default_collate(samples)},
        ("data_collator", "lambda", "default_data_collator"),
    ),
}


@pytest.mark.parametrize(
    "what",
    some(DIFFERING, "the rate of its optimizer", "the model's activation", "what makes batches"),
)
def test_a_difference_is_refused_and_the_way_out_works(what: str, home: Home) -> None:
    made, resumed, words = DIFFERING[what]
    short = {"max_steps": 4, "save_steps": 2}
    home.train(**made, **short)
    home.train(home.order(home.node(2)), **made, **short)
    launch = home.order(home.node(2))
    with pytest.raises(CheckpointMismatch) as caught:
        home.train(launch, **resumed, **short)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert home.segment(launch.branch_id).started_at is None
    way = way_out(caught.value)
    again = home.order(home.node(2), way["settings"], mode=way["mode"])
    home.train(again, **resumed, **short)
    assert (home.final(again).kind, home.final(again).step > 2) == ("final", True)


DECLARED: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "the rate of its optimizer": (own(), own(lr=0.02), {"lr": 0.02}),
    "the peak of its scheduler": (
        own(lambda o: OneCycleLR(o, 0.02, total_steps=20)),
        own(lambda o: OneCycleLR(o, 0.04, total_steps=20)),
        {"lr": 0.04},
    ),
    "the model's dropout": ({}, {"model": activated("gelu_new", 0.5)}, {"dropout": 0.5}),
}


def test_betas_that_the_schedule_cycles_are_obeyed_as_the_most_of_the_cycle(home: Home) -> None:
    made = own(lambda o: OneCycleLR(o, 0.02, total_steps=20))
    short = {"max_steps": 4, "save_steps": 1}
    home.train(**made, **short)
    launch = home.order(home.node(2), {"betas": "0.8, 0.95"})
    home.train(launch, **made, **short)
    effective = exact.verified(home, launch)
    assert effective["betas"] == [0.8, 0.95] and effective["betas_now"][1] == 0.95
    assert 0.8 * 85 / 95 <= effective["betas_now"][0] < 0.8


def test_an_end_behind_that_of_the_scripts_scheduler_is_refused(home: Home) -> None:
    made = own(lambda o: OneCycleLR(o, 0.02, total_steps=4))
    short = {"max_steps": 4, "save_steps": 2}
    home.train(**made, **short)
    launch = home.order(home.node(2), {"max_steps": 5})
    with pytest.raises(InvalidInput, match="ends at step 4"):
        home.train(launch, **made, **short)
    assert home.segment(launch.branch_id).started_at is None


@pytest.mark.parametrize("what", DECLARED)
def test_a_difference_that_was_declared_is_obeyed(what: str, home: Home) -> None:
    made, resumed, settings = DECLARED[what]
    short = {"max_steps": 4, "save_steps": 1}
    home.train(**made, **short)
    launch = home.order(home.node(2), settings)
    home.train(launch, **resumed, **short)
    assert exact.verified(home, launch).items() >= settings.items()
    # From here on the script agrees with the node.
    again = home.order(home.node(3, launch.branch_id))
    home.train(again, **resumed, **short)
    assert home.final(again).state_digest == home.final(launch).state_digest
