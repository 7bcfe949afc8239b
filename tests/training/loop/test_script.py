"""What a script asks for otherwise than the one that made a node is refused, with both values."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler as schedulers

import branchtrack
from branchtrack.errors import CheckpointMismatch
from tests.matrices import some
from tests.training import exact, loops
from tests.training.homes import Home
from tests.training.loop_changes import AT, HOW, cosine, reads, resume, settings
from tests.training.ways import way_out


@pytest.fixture(scope="module")
def trained(shared_home: Home) -> Home:
    """A home in which ``tiny/main`` has been trained, with a node at every step."""
    loops.train(shared_home, settings=settings(), at=reads, **HOW)
    return shared_home


def without_dropout() -> Any:
    return loops.net(0.0)


def partly_frozen() -> Any:
    made: Any = loops.net()
    made[0].requires_grad_(False)
    return made


DIFFERENT: dict[str, tuple[dict[str, Any], str, tuple[str, str], str]] = {
    "rate": (
        {"optimizer": lambda m: torch.optim.AdamW(m.parameters(), 0.02, weight_decay=0.1)},
        "lr",
        ("0.02", "0.01"),
        "--set lr=0.02",
    ),
    "betas": (
        {
            "optimizer": lambda m: torch.optim.AdamW(
                m.parameters(), 0.01, (0.8, 0.9), weight_decay=0.1
            )
        },
        "betas",
        ("[0.8, 0.9]", "[0.9, 0.999]"),
        "--set betas=0.8,0.9",
    ),
    "amsgrad": (
        {
            "optimizer": lambda m: torch.optim.AdamW(
                m.parameters(), 0.01, amsgrad=True, weight_decay=0.1
            )
        },
        "amsgrad",
        ("True", "False"),
        "--mode weights",
    ),
    "optimizer": (
        {"optimizer": lambda m: torch.optim.Adam(m.parameters(), 0.01, weight_decay=0.1)},
        "optimizer",
        ("'Adam'", "'AdamW'"),
        "--mode weights",
    ),
    "schedule": (
        {"scheduler": lambda o: schedulers.CosineAnnealingLR(o, 50)},
        "scheduler.T_max",
        ("50", str(loops.STEPS)),
        "--set scheduler=script",
    ),
    "no schedule": (
        {"scheduler": None},
        "scheduler",
        ("None", "'CosineAnnealingLR'"),
        "--set scheduler=script",
    ),
    "batch size": (
        {"data": lambda: loops.loader(batch_size=8)},
        "batch_size",
        ("8", "4"),
        "--set batch_size=8",
    ),
    "order": (
        {"data": lambda: loops.loader("sequential")},
        "sampler",
        ("'SequentialSampler'", "'RandomSampler'"),
        "--accept sampler",
    ),
    "data": (
        {"data": lambda: loops.loader("random", loops.Points("nothing", 30))},
        "dataset_length",
        ("30", "26"),
        "--accept dataset_length",
    ),
    "workers": (
        {"data": lambda: loops.loader(num_workers=1)},
        "num_workers",
        ("1", "0"),
        "--accept num_workers",
    ),
    "length": ({"max_steps": 20}, "max_steps", ("20", str(loops.STEPS)), "--set max_steps=20"),
    "seed": ({"seed": 6}, "seed", ("6", "5"), "--set seed=6"),
    "cadence": ({"save_steps": 3}, "save_steps", ("3", "1"), "--set save_steps=3"),
    "dropout": ({"model": without_dropout}, "dropout", ("0.0", "0.2"), "--set dropout=0.0"),
    "freezing": ({"model": partly_frozen}, "frozen", ("'0'", "''"), "--set frozen=0"),
    "a setting": (
        {"settings": {"smoothing": 0.2, "unread": 3}},
        "settings.smoothing",
        ("0.2", "0.1"),
        "--set smoothing=0.2",
    ),
    "a new setting": (
        {"settings": {**settings(), "more": 1}},
        "settings.more",
        ("1", "None"),
        "--accept settings.more",
    ),
    "objects": (
        {"objects": {"net": torch.nn.Linear(1, 1)}},
        "objects",
        ("['net']", "[]"),
        "--mode weights",
    ),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_an_undeclared_difference_is_refused_with_both_values(what: str, trained: Home) -> None:
    how, field, (mine, theirs), way = DIFFERENT[what]
    with pytest.raises(CheckpointMismatch) as caught:
        resume(trained, {}, **how)
    words = str(caught.value)
    assert f"{field} is {mine} in the script and was {theirs}" in words
    assert way in words and f"Put {field} back to {theirs}" in words


@pytest.mark.parametrize(
    "what", some(DIFFERENT, "rate", "schedule", "batch size", "dropout", "objects")
)
def test_the_way_out_that_a_refusal_names_works(what: str, trained: Home) -> None:
    how = DIFFERENT[what][0]
    with pytest.raises(CheckpointMismatch) as caught:
        resume(trained, {}, **how)
    way = way_out(caught.value)
    launch, _, _ = resume(trained, way["settings"], mode=way["mode"], **how)
    assert trained.final(launch).kind == "final" and trained.final(launch).step > AT
    assert exact.verified(trained, launch) if way["mode"] == "exact" else True


def test_functions_of_the_step_are_told_apart(home: Home) -> None:
    loops.train(home, scheduler=lambda o: schedulers.LambdaLR(o, lambda step: 0.9**step))
    launch = home.order(home.node(AT))
    with pytest.raises(CheckpointMismatch, match="scheduler.lr_lambda"):
        loops.train(
            home, launch, scheduler=lambda o: schedulers.LambdaLR(o, lambda step: 0.8**step)
        )


def test_a_script_that_says_what_the_node_has_is_let_through(trained: Home) -> None:
    launch, _, _ = resume(trained, {"lr": 0.02, "smoothing": 0.4})
    node = trained.nodes(launch.branch_id)[2]
    again = trained.order(node)
    how: dict[str, Any] = {
        "optimizer": lambda m: torch.optim.AdamW(m.parameters(), 0.02, weight_decay=0.1)
    }
    how["settings"] = {"smoothing": branchtrack.setting(0.4, maximum=0.5), "unread": 3}
    loops.train(trained, again, scheduler=cosine, at=reads, **how)
    assert trained.final(again).state_digest == trained.final(launch).state_digest


def test_a_model_of_another_shape_is_refused(trained: Home) -> None:
    def wider() -> torch.nn.Module:
        made = loops.net()
        made[0] = torch.nn.Linear(6, 8, bias=False)
        return made

    with pytest.raises(CheckpointMismatch, match="The model's module 0 is Linear.*bias=False"):
        resume(trained, {}, model=wider)
