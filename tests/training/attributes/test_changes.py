"""State outside of model, optimizer and schedule is found, stored and given back."""

from __future__ import annotations

import copy
import itertools
import random
import time
from collections import defaultdict, deque
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

from branchtrack.errors import CheckpointMismatch, InvalidInput
from branchtrack.training.attributes.changes import Attributes
from branchtrack.training.attributes.slots import OF_EVERY_OPTIMIZER
from branchtrack.training.state import snapshots
from tests.matrices import some
from tests.training import exact, tiny
from tests.training.callbacks import Do
from tests.training.hidden_state import KINDS, TEACHER
from tests.training.homes import Home

#: A training with nodes at steps 0, 4 and 6.
SHORT: dict[str, Any] = {"max_steps": 6, "save_steps": 4}


class Script(SimpleNamespace):
    """An object of a script's own class."""


def attributes(owner: Any, rows: Any = None) -> Attributes:
    """Those of one object, and of a data set, beside a model of no interest."""
    ahead = {} if rows is None else {"data": rows}
    return Attributes({"trainer": owner}, torch.nn.Linear(1, 1), ahead=ahead)


@pytest.mark.parametrize("name", some(KINDS, "an averaged teacher", "a callback"))
def test_hidden_state_resumes_exactly(home: Home, name: str) -> None:
    how = {"max_steps": 6, **KINDS[name]}
    exact.agree(home, lambda: dict(how), steps=(2, 4))


@pytest.mark.parametrize(
    "name", some(KINDS, "weights, numbers and a generator", "a number of the model's")
)
def test_the_guard_alone_finds_hidden_state(home: Home, name: str) -> None:
    """With nothing given back, and no attribute looked at, the first update tells."""
    how = {**SHORT, **KINDS[name]}
    home.train(**how)
    launch = home.order(home.node(4))
    with (
        mock.patch.object(Attributes, "restore", lambda *_: None),
        mock.patch.object(Attributes, "differing", lambda *_: {}),
    ):
        home.train(launch, **how)
    fork = home.fork(launch)
    assert fork.compared is not None and fork.compared["state"] == "differs"
    assert fork.effective is not None and fork.effective["verified"] is False


def test_what_was_not_given_back_is_named_though_the_first_update_is_alike(home: Home) -> None:
    class Counting(tiny.BranchingTrainer):
        tokens = 0

        def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            self.tokens += inputs["input_ids"].numel()
            return super().training_step(model, inputs, *args, **kwargs)

    home.train(kind=Counting, **SHORT)
    launch = home.order(home.node(4))
    with mock.patch.object(Attributes, "restore", lambda *_: None):
        with mock.patch.object(Attributes, "differing", lambda *_: {}):
            home.train(launch, kind=Counting, **SHORT)
    compared = home.fork(launch).compared
    assert compared is not None and (compared["batch"], compared["loss"]) == ("equal", "equal")
    assert compared["state"] == "differs"
    difference = {"name": "trainer.tokens", "expected": str(5 * 4 * 16), "found": str(4 * 16)}
    assert compared["differences"] == [difference]


def test_tracked_objects_are_state(home: Home) -> None:
    weights: list[torch.Tensor] = []

    def train(launch: Any = None, tracks: bool = True) -> None:
        trainer = tiny.trainer(tiny.BranchingTrainer, home.folder, **SHORT)
        weights.append(torch.zeros(3))
        if tracks:
            trainer.track(weights=weights[-1])
        with mock.patch.object(trainer, "training_step", _moving(trainer, weights[-1])):
            home.run(trainer, launch)

    train()
    train(home.order(home.node(4)))
    assert torch.equal(weights[0], weights[1]) and weights[0][0] == 6
    with pytest.raises(CheckpointMismatch, match="tracks nothing; the node has weights"):
        train(home.order(home.node(4)), tracks=False)


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
    home.train(
        max_steps=5, eval_strategy="steps", eval_steps=4, include_num_input_tokens_seen="all"
    )
    assert all("attributes" not in home.snapshot(node).state for node in home.nodes())


def test_a_teacher_that_is_made_while_training_is_named(home: Home) -> None:
    class Late(TEACHER):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.teacher = None

        def compute_loss(self, model: Any, *args: Any, **kwargs: Any) -> Any:
            if self.teacher is None:
                self.teacher = tiny.gpt(3)
            return super().compute_loss(model, *args, **kwargs)

    home.train(kind=Late, **SHORT)
    launch = home.resume(home.node(4), kind=Late, **SHORT)
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
        "trainer.b",
        "trainer.inner.c",
        "trainer.items",
        "trainer.tensor",
    ]


def test_what_tells_the_time_is_no_state() -> None:
    owner = Script(step_time=0.0, started=0.0, window={"loss": [0.0], "step_time": [0.0]})
    found = attributes(owner)
    owner.step_time, owner.started = 3.0, time.time()
    owner.window["step_time"].append(1.0)
    assert found.state() == {}


def test_values_come_back_in_place() -> None:
    made = Script(
        number=0,
        tensor=torch.zeros(2),
        array=np.zeros(2),
        items=deque([0], maxlen=3),
        window={"train": defaultdict(list)},
        noise=torch.Generator().manual_seed(0),
        numbers=random.Random(0),
        arrays=np.random.default_rng(0),
        unset=None,
    )
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
        number=0,
        tensor=torch.zeros(2),
        array=np.zeros(2),
        items=deque([0], maxlen=3),
        window={"train": defaultdict(list)},
        noise=torch.Generator().manual_seed(0),
        numbers=random.Random(0),
        arrays=np.random.default_rng(0),
        unset=None,
    )
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


class Hostile:
    """Fails in every way in which it can be looked at."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


class Raising:
    """Has a state that cannot be had."""

    def state_dict(self) -> dict[str, Any]:
        raise KeyError("none")

    def load_state_dict(self, state: dict[str, Any]) -> None:
        raise KeyError("none")


class Key:
    """Cannot even be spelled."""

    def __repr__(self) -> str:
        raise ValueError("no")


def test_whatever_an_object_does_training_goes_on(home: Home) -> None:
    def add(trainer: Any) -> None:
        trainer.proxy, trainer.huge, trainer.raising = Hostile(), 10**5000, Raising()
        trainer.odd, trainer.lazy = {Key(): 1}, [torch.nn.UninitializedParameter()]

    first = tiny.trainer(tiny.BranchingTrainer, home.folder, **SHORT)
    add(first)
    home.run(first)
    late = tiny.trainer(
        tiny.BranchingTrainer,
        home.folder,
        callbacks=lambda: [Do("on_step_begin", 4, lambda **_: add(late))],
        **SHORT,
    )
    home.run(late)
    assert home.final().state_digest == home.nodes("tiny-2/main")[-1].state_digest


def test_what_changes_and_is_too_large_or_of_another_kind_is_named_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    owner = Script(
        rows=[(1, 2)] * 50_000,
        counts=dict.fromkeys(range(50_000), 0),
        other=deque([0] * 30_000),
        deep=[[0] * 300 for _ in range(300)],
        odd=[object()],
    )
    rows = Script(counter=0, seen=np.zeros(2), read=[0], cache=[None])
    tracked = attributes(owner, rows=rows)
    assert tracked.state() == {} and not caplog.records
    owner.rows.append((3, 4))
    owner.other.appendleft(1)
    owner.deep[0] = [1]
    owner.odd.append(object())
    owner.count, rows.counter, rows.seen[0] = itertools.count(), 1, 1
    rows.read.append(1)
    rows.cache[0] = [2]
    with mock.patch("branchtrack.training.attributes.values._contents", lambda value: value):
        state = tracked.state()
    names = [f"trainer.{name}" for name in "rows other deep odd count".split()]
    names += ["data.counter", "data.seen"]
    assert tracked.omitted(state) == list(state) == names
    assert tracked.state() == state
    assert [record.args[0] for record in caplog.records] == names
    again = attributes(Script(rows=[], counts={}, other=deque(), deep=[], odd=[]), rows)
    again.restore(state)
    assert again.differing(state) == {}


def test_a_resume_names_what_its_node_has_not_stored(home: Home) -> None:
    class Buffering(tiny.BranchingTrainer):
        def training_step(self, *args: Any, **kwargs: Any) -> Any:
            self.rows = [*getattr(self, "rows", [0] * 30_000), 1]
            return super().training_step(*args, **kwargs)

    home.train(kind=Buffering, **SHORT)
    launch = home.order(home.node(4))
    home.train(launch, kind=Buffering, **SHORT)
    fork = home.fork(launch)
    assert fork.restored is not None and fork.restored["trainer.rows"] == "not stored"
    assert fork.compared is not None and fork.compared["state"] == "unknown"
    assert fork.compared["not_restored"] == ["trainer.rows"]
    assert fork.effective is not None and fork.effective["verified"] is None


def test_what_the_machine_makes_of_it_is_no_proof() -> None:
    owner = Script(tokens_per_s=1, stamp=0, rss=1, key="", address=0, steps=0)
    found = attributes(owner)
    owner.tokens_per_s, owner.stamp, owner.rss = 5, time.time_ns(), 7
    owner.key, owner.address, owner.steps = "f3a0", id(owner), 2
    assert found.numbers() == {"trainer.steps": "2"}


class Sharp(torch.optim.Optimizer):
    """An optimizer around another, which shares its groups, and with a copy of what it trains."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 0.1})
        self.inner = torch.optim.SGD(self.param_groups, momentum=0.9)
        (self.weight,) = self.param_groups[0]["params"]
        self.slow, self.steps = [self.weight.detach().clone()], 0

    def step(self, closure: Any = None) -> None:
        """A step of the other, and every third time half of the way back."""
        self.inner.step()
        self.steps += 1
        if self.steps % 3 == 0:
            self.slow[0].lerp_(self.weight.data, 0.5)
            self.weight.data.copy_(self.slow[0])


def train(optimizer: Sharp, steps: int) -> torch.Tensor:
    for _ in range(steps):
        optimizer.weight.grad = optimizer.weight.detach() + 1
        optimizer.step()
    return optimizer.weight.detach().clone()


def sharp() -> tuple[Sharp, Attributes]:
    model = torch.nn.Linear(2, 2, bias=False)
    torch.nn.init.ones_(model.weight)
    optimizer = Sharp(model.parameters())
    return optimizer, Attributes({"optimizer": optimizer}, model, {"optimizer": OF_EVERY_OPTIMIZER})


def test_what_an_optimizer_keeps_outside_of_its_state_is_given_back() -> None:
    first, attributes_of_first = sharp()
    weight, state = train(first, 4), copy.deepcopy(attributes_of_first.state())
    again, attributes_of_again = sharp()
    again.weight.data.copy_(weight)
    attributes_of_again.restore(state)
    assert attributes_of_again.differing(state) == {}
    assert again.inner.param_groups[0] is again.param_groups[0]
    assert torch.equal(train(again, 3), train(first, 3))
    # Its parameter by another name is no state beside the weights.
    assert "optimizer.weight" not in state


class Remembering(torch.nn.Module):
    """A module with containers of what went through it."""

    def __init__(self) -> None:
        super().__init__()
        self.queue, self.bank, self.centre = [torch.zeros(2)], dict[str, float](), torch.zeros(2)


def test_containers_and_tensors_of_a_module_are_state() -> None:
    model, again = Remembering(), Remembering()
    first, other = Attributes({}, model), Attributes({}, again)
    model.queue.append(torch.ones(2))
    model.bank["a"] = 2.0
    model.centre += 1
    state = first.state()
    assert list(state) == ["model.queue", "model.bank", "model.centre"]
    other.restore(state)
    assert len(again.queue) == 2 and again.bank == {"a": 2.0} and again.centre.sum() == 2


class Counting:
    """Counts in the class itself."""

    calls = 0


def test_numbers_of_a_class_of_the_script_are_state(monkeypatch: pytest.MonkeyPatch) -> None:
    first = attributes(Counting())
    monkeypatch.setattr(Counting, "calls", 3)
    state = first.state()
    monkeypatch.setattr(Counting, "calls", 0)
    attributes(Counting()).restore(state)
    assert Counting.calls == 3 and list(state) == ["trainer.Counting.calls"]


class Scaled:
    """A loss function that counts what it was asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
        self.calls += 1
        losses = torch.nn.functional.cross_entropy(outputs.logits.flatten(0, 1), labels.flatten())
        return losses * (1 + self.calls % 7)


def called(weights: torch.Tensor, *given: Any, **_: Any) -> Any:
    """A loss function with something bound to it."""
    weights += 1
    return Scaled()(*given) * weights[0]


@pytest.mark.parametrize(
    ("function", "path"),
    [(partial(called, torch.zeros(1)), "loss.args"), (Scaled().__call__, "loss.calls")],
)
def test_what_a_loss_function_keeps_is_followed(home: Home, function: Any, path: str) -> None:
    trainer = tiny.trainer(tiny.BranchingTrainer, home.folder, max_steps=4)
    trainer.compute_loss_func = function
    home.run(trainer)
    assert path in snapshots.attributes(home.snapshot(home.node(4)))


class Around(tiny.BranchingTrainer):
    """Keeps state in the objects around the Trainer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.compute_loss_func = Scaled()

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        self.args.scale = getattr(self.args, "scale", 1.0) * 1.1
        self.state.seen = getattr(self.state, "seen", 0) + 1
        self.optimizer.note = self.state.seen
        factor = self.args.scale + self.state.seen + self.optimizer.note
        return super().training_step(*args, **kwargs) * (1 if factor else 0)


def test_what_lies_around_a_trainer_is_followed(home: Home) -> None:
    home.train(kind=Around, **SHORT)
    stored = snapshots.attributes(home.snapshot(home.node(4)))
    names = {"args.scale", "state.seen", "wrapper.note", "loss.calls"}
    assert names <= stored.keys()
    resumed = home.train(home.order(home.node(4)), kind=Around, **SHORT)
    assert resumed.state.seen == resumed.state.global_step
