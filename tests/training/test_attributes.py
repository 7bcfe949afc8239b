"""State outside of model, optimizer and schedule is found, stored and given back."""

from __future__ import annotations

import random
import time
from collections import defaultdict, deque
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

from branchtrack.errors import CheckpointMismatch, InvalidInput
from branchtrack.training.attributes import Attributes
from tests.training import exact, tiny
from tests.training.hidden_state import KINDS, TEACHER
from tests.training.homes import Home


class Script(SimpleNamespace):
    """An object of a script's own class."""


def attributes(owner: Any, **tracked: Any) -> Attributes:
    """Those of one object beside a model of no interest."""
    return Attributes({"trainer": owner}, torch.nn.Linear(1, 1), tracked=tracked)


@pytest.mark.parametrize("name", KINDS)
def test_hidden_state_resumes_exactly(home: Home, name: str) -> None:
    how = {"logging_steps": 1, "save_steps": 2, **KINDS[name]}
    exact.agree(home, lambda: dict(how), steps=(4, 8))


@pytest.mark.parametrize("name", KINDS)
def test_the_guard_alone_finds_hidden_state(home: Home, name: str) -> None:
    """With nothing given back, and no attribute looked at, the first update tells."""
    how = KINDS[name]
    home.train(**how)
    launch = home.order(home.node(8))
    with (
        mock.patch.object(Attributes, "restore", lambda *_: None),
        mock.patch.object(Attributes, "differing", lambda *_: {}),
    ):
        home.train(launch, **how)
    fork = home.fork(launch)
    assert fork.compared is not None and fork.compared["state"] == "differs"
    assert fork.effective is not None and fork.effective["verified"] is False


def test_what_was_not_given_back_is_named_though_the_first_update_is_alike(home: Home) -> None:
    class Counting(tiny.BranchingTrainer):  # type: ignore[misc, name-defined]
        tokens = 0

        def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            self.tokens += inputs["input_ids"].numel()
            return super().training_step(model, inputs, *args, **kwargs)

    home.train(kind=Counting)
    launch = home.order(home.node(8))
    with mock.patch.object(Attributes, "restore", lambda *_: None):
        with mock.patch.object(Attributes, "differing", lambda *_: {}):
            home.train(launch, kind=Counting)
    compared = home.fork(launch).compared
    assert compared is not None and (compared["batch"], compared["loss"]) == ("equal", "equal")
    assert compared["state"] == "differs"
    difference = {"name": "trainer.tokens", "expected": str(9 * 4 * 16), "found": str(4 * 16)}
    assert compared["differences"] == [difference]


def test_tracked_objects_are_state(home: Home) -> None:
    weights: list[torch.Tensor] = []

    def train(launch: Any = None, tracks: bool = True) -> None:
        trainer = tiny.trainer(tiny.BranchingTrainer, home.folder)
        weights.append(torch.zeros(3))
        if tracks:
            trainer.track(weights=weights[-1])
        with mock.patch.object(trainer, "training_step", _moving(trainer, weights[-1])):
            home.run(trainer, launch)

    train()
    train(home.order(home.node(8)))
    assert torch.equal(weights[0], weights[1]) and weights[0][0] == 14
    with pytest.raises(CheckpointMismatch, match="tracks nothing; the node has weights"):
        train(home.order(home.node(8)), tracks=False)


def _moving(trainer: Any, weights: torch.Tensor) -> Any:
    step = trainer.training_step

    def moving(*args: Any, **kwargs: Any) -> Any:
        weights.add_(1)
        return step(*args, **kwargs)

    return moving


def test_what_has_no_state_cannot_be_tracked(home: Home) -> None:
    trainer = tiny.trainer(tiny.BranchingTrainer, home.folder)
    with pytest.raises(InvalidInput, match="factor"):
        trainer.track(factor=3.0)


def test_a_stock_trainer_has_no_state_of_that_kind(home: Home) -> None:
    home.train(eval_strategy="steps", eval_steps=4, include_num_input_tokens_seen="all")
    assert all("attributes" not in home.snapshot(node).state for node in home.nodes())


def test_a_teacher_that_is_made_while_training_is_named(home: Home) -> None:
    class Late(TEACHER):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.teacher = None

        def compute_loss(self, model: Any, *args: Any, **kwargs: Any) -> Any:
            if self.teacher is None:
                self.teacher = tiny.gpt(3)
            return super().compute_loss(model, *args, **kwargs)

    home.train(kind=Late)
    launch = home.resume(home.node(8), kind=Late)
    compared = home.fork(launch).compared
    assert compared is not None and compared["state"] == "differs"
    assert "trainer.teacher" in {one["name"] for one in compared["differences"]}


def test_only_what_has_changed_is_stored() -> None:
    owner = Script(a=1, b=2, text="x", tensor=torch.zeros(2), items=[1], inner=Script(c=3))
    found = attributes(owner)
    assert found.state() == {}
    owner.b, owner.inner.c = 5, 6
    owner.items.append(2)
    owner.tensor.data.add_(1)
    assert sorted(found.state()) == [
        "trainer.b", "trainer.inner.c", "trainer.items", "trainer.tensor",
    ]  # fmt: skip


def test_what_tells_the_time_is_no_state() -> None:
    owner = Script(step_time=0.0, started=0.0, window={"loss": [0.0], "step_time": [0.0]})
    found = attributes(owner)
    owner.step_time, owner.started = 3.0, time.time()
    owner.window["step_time"].append(1.0)
    assert found.state() == {}


def test_values_come_back_in_place() -> None:
    made = Script(
        number=0, tensor=torch.zeros(2), array=np.zeros(2), items=deque([0], maxlen=3),
        window={"train": defaultdict(list)}, noise=torch.Generator().manual_seed(0),
        numbers=random.Random(0), arrays=np.random.default_rng(0), unset=None,
    )  # fmt: skip
    found = attributes(made)
    before = {name: getattr(made, name) for name in ("tensor", "array", "items", "window")}
    made.number, made.unset = 3, [{"x": torch.ones(1)}]
    made.tensor += 1
    made.array += 1
    made.items.extend([1, 2, 3])
    made.window["train"]["loss"].append(0.5)
    drawn = [torch.rand(1, generator=made.noise), made.numbers.random(), made.arrays.random()]
    state = found.state()
    again = Script(
        number=0, tensor=torch.zeros(2), array=np.zeros(2), items=deque([0], maxlen=3),
        window={"train": defaultdict(list)}, noise=torch.Generator().manual_seed(0),
        numbers=random.Random(0), arrays=np.random.default_rng(0), unset=None,
    )  # fmt: skip
    kept = {name: getattr(again, name) for name in before}
    other = attributes(again)
    other.restore(state)
    assert other.differing(state) == {} and drawn
    assert again.number == 3 and torch.equal(again.unset[0]["x"], torch.ones(1))
    assert all(getattr(again, name) is value for name, value in kept.items())
    assert again.items.maxlen == 3 and list(again.items) == [1, 2, 3]
    assert again.window["train"]["loss"] == [0.5] and again.window["train"]["other"] == []
    assert again.numbers.random() == made.numbers.random()
    assert again.arrays.random() == made.arrays.random()
    assert torch.equal(torch.rand(1, generator=again.noise), torch.rand(1, generator=made.noise))
