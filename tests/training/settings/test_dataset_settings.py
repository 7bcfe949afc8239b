"""Settings of the data: from which sample on they hold, and what comes back of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    get_worker_info,
)

import branchtrack
from branchtrack.core.records import Launch
from branchtrack.errors import BranchtrackError, InvalidInput
from branchtrack.training.settings.dataset_settings import DataSettings
from tests.matrices import some
from tests.training import loops, tiny
from tests.training.callbacks import At, Do
from tests.training.homes import Home

COUNT, BATCH, STEPS = 28, 4, 10
#: The middle of a pass, and the end of the first, where there are no workers.
CHANGES = {3: 0.75, 7: 0.25}


class Noisy(Dataset[Any]):
    """Samples that say their noise and their number; more noise draws more random numbers."""

    def __init__(self, *, as_dict: bool) -> None:
        self.as_dict = as_dict
        branchtrack.declare(self, noise=branchtrack.setting(0.5, minimum=0, maximum=1))

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> Any:
        width = 8 if self.as_dict else 6
        noise: float = self.noise
        x = torch.rand(width) + torch.rand(int(noise * 8)).sum()
        x[0], x[1] = noise, index
        label = torch.tensor(index % 2)
        return {"x": x, "labels": label} if self.as_dict else (x, label)


class Flow(IterableDataset[Any]):
    """The same as a stream that workers share."""

    def __init__(self, *, as_dict: bool) -> None:
        self.dataset = Noisy(as_dict=as_dict)

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for index in range(first, COUNT, step):
            yield self.dataset[index]


class Seen:
    """The (noise, number) of each sample that a model was trained on, batch by batch."""

    def __init__(self) -> None:
        self.batches: list[list[tuple[float, int]]] = []

    def keep(self, model: torch.nn.Module, args: Any, kwargs: Any) -> None:
        x = kwargs["x"] if kwargs else args[0]
        if model.training:
            self.batches.append([(float(one[0]), int(one[1])) for one in x])

    def by(self, make: Callable[[], torch.nn.Module]) -> Callable[[], torch.nn.Module]:
        def made() -> torch.nn.Module:
            model = make()
            model.register_forward_pre_hook(self.keep, with_kwargs=True)
            return model

        return made

    @property
    def noise(self) -> list[float]:
        """The noise of each batch, which all of its samples have."""
        assert all(len({noise for noise, _ in batch}) == 1 for batch in self.batches)
        return [batch[0][0] for batch in self.batches]


def in_loop(
    home: Home,
    seen: Seen,
    launch: Launch | None,
    changes: dict[int, float],
    kind: Any,
    **loader: Any,
) -> list[int | None]:
    """A plain loop; changes are asked for before the control points of their steps."""
    samples = []

    def at(run: Any, _optimizer: Any) -> None:
        samples.append(run._live.data.from_sample)
        if run.step_number + 1 in changes:
            home.ask("set", values={"data.noise": changes[run.step_number + 1]})
            deadline = time.monotonic() + 60
            while not run._session.recorder.inbox.pending and time.monotonic() < deadline:
                time.sleep(0.002)

    made = DataLoader(kind(as_dict=False), batch_size=BATCH, **loader)
    loops.train(home, launch, data=lambda: made, model=seen.by(loops.net), max_steps=STEPS, at=at)
    # Workers that are kept for garbage to be collected take torch ten seconds to end.
    made._iterator = None
    return samples


def in_trainer(
    home: Home,
    seen: Seen,
    launch: Launch | None,
    changes: dict[int, float],
    kind: Any,
    **loader: Any,
) -> list[int | None]:
    """A Trainer's training, in the same way."""
    samples: list[int | None] = []
    trainer: list[Any] = []

    def ask(value: float) -> Callable[[], object]:
        return lambda: home.ask("set", values={"data.noise": value})

    def made() -> list[Any]:
        asking = [At(step - 1, ask(value)) for step, value in changes.items()]
        for one in asking:
            trainer.append(one)
        note = Do(
            "on_step_end",
            None,
            lambda **_: samples.append(trainer[0]._bt_position.settings.from_sample),
        )
        return [*asking, note]

    callbacks = made()
    found = tiny.trainer(
        tiny.BranchingTrainer,
        home.folder,
        model=seen.by(tiny.normed),
        callbacks=lambda: callbacks,
        data=kind(as_dict=True),
        evaluated=False,
        save_steps=1,
        max_steps=STEPS,
        **{f"dataloader_{name}": value for name, value in loader.items()},
    )
    for one in trainer:
        one.trainer = found
    trainer.insert(0, found)
    home.run(found, launch)
    return samples


CASES = {
    "loop, map": (in_loop, Noisy, {}),
    "loop, map, workers": (in_loop, Noisy, {"num_workers": 2}),
    "loop, map, kept workers": (in_loop, Noisy, {"num_workers": 2, "persistent_workers": True}),
    "loop, stream": (in_loop, Flow, {}),
    "loop, stream, workers": (in_loop, Flow, {"num_workers": 2}),
    "loop, stream, kept workers": (in_loop, Flow, {"num_workers": 2, "persistent_workers": True}),
    "trainer, map": (in_trainer, Noisy, {}),
    "trainer, map, workers": (in_trainer, Noisy, {"num_workers": 2}),
    "trainer, stream": (in_trainer, Flow, {}),
    "trainer, stream, workers": (in_trainer, Flow, {"num_workers": 2}),
}


@pytest.mark.parametrize("case", some(CASES, "loop, map", "loop, stream, workers", "trainer, map"))
def test_a_change_holds_from_the_next_sample_and_comes_back(case: str, home: Home) -> None:
    train, kind, loader = CASES[case]
    seen = Seen()
    samples = train(home, seen, None, CHANGES, kind, **loader)
    assert seen.noise == [0.5] * 3 + [0.75] * 4 + [0.25] * 3
    numbers = [number for batch in seen.batches for _, number in batch]
    assert sorted(numbers[:COUNT]) == list(range(COUNT)) or "stream, " in case
    assert samples[:8] == [sum(map(len, seen.batches[:n])) for n in range(1, 9)]
    assert [request.state for request in home.requests()] == ["verified", "verified"]
    final = home.final()
    # In the middle of the pass, where its first part was made with other values, and behind it.
    for step in (7, 8):
        node, again = home.node(step), Seen()
        assert node.settings["data.noise"] == 0.25
        launch = home.order(node)
        train(home, again, launch, {}, kind, **loader)
        assert again.batches == seen.batches[step:], f"samples from {step}"
        assert home.final(launch).state_digest == final.state_digest, f"state from {step}"
        effective = home.fork(launch).effective
        assert effective is not None and effective["verified"] is True, effective


TWICE = ["loop, map, workers", "loop, stream", "trainer, stream, workers"]


@pytest.mark.parametrize("case", some(TWICE, "loop, map, workers"))
def test_a_pass_is_changed_twice_and_resumed_after_each(case: str, home: Home) -> None:
    train, kind, loader = CASES[case]
    seen = Seen()
    train(home, seen, None, {2: 0.75, 4: 0.25}, kind, **loader)
    for step in (4, 5):
        launch, again = home.order(home.node(step)), Seen()
        train(home, again, launch, {}, kind, **loader)
        assert again.batches == seen.batches[step:]
        assert home.final(launch).state_digest == home.final().state_digest


@pytest.mark.parametrize(
    "case",
    some(["loop, map, workers", "loop, stream", "trainer, map"], "loop, stream", "trainer, map"),
)
def test_a_resume_with_another_value_has_it_from_its_first_sample(case: str, home: Home) -> None:
    train, kind, loader = CASES[case]
    seen, again = Seen(), Seen()
    train(home, seen, None, {}, kind, **loader)
    launch = home.order(home.node(3), {"data.noise": 0.75})
    samples = train(home, again, launch, {}, kind, **loader)
    assert set(again.noise) == {0.75} and samples[0] == 4 * BATCH
    assert again.batches[0] == [(0.75, number) for _, number in seen.batches[3]]
    effective = home.fork(launch).effective
    assert effective is not None and effective["verified"] is True
    assert effective["data.noise"] == 0.75


def test_a_value_that_does_not_reach_the_samples_is_ineffective(home: Home) -> None:
    class Deaf(Noisy):
        """What is assigned never comes to the workers."""

        noise = property(
            lambda self: 0.5 if get_worker_info() else self.assigned,
            lambda self, value: setattr(self, "assigned", value),
        )

    in_loop(home, Seen(), None, {3: 0.75}, Deaf, num_workers=2)
    (request,) = home.requests()
    assert request.state == "ineffective" and home.node(3).settings["data.noise"] == 0.75


def test_a_setter_that_takes_another_value_is_told_and_nothing_changed(home: Home) -> None:
    class Clamped(Noisy):
        """Takes no more than a half."""

        noise = property(
            lambda self: self.assigned,
            lambda self, value: setattr(self, "assigned", min(value, 0.5)),
        )

    seen = Seen()
    in_loop(home, seen, None, {3: 0.75}, Clamped)
    (request,) = home.requests()
    assert request.state == "failed" and "data.noise cannot be 0.75" in (request.error or "")
    assert set(seen.noise) == {0.5}


def test_datasets_are_found_through_what_wraps_them() -> None:
    one = branchtrack.declare(Noisy(as_dict=False), sharpness=2)
    whole: ConcatDataset[Any] = ConcatDataset([Subset(one, [0, 1]), Subset(one, [2])])
    found = DataSettings(DataLoader(whole))
    assert found.values() == {"data.noise": 0.5, "data.sharpness": 2}
    assert {setting.effect for setting in found.declared.values()} == {"from the next sample"}
    found.write({"data.noise": 0.25})
    assert one.noise == 0.25
    put_back = found.keep()
    with pytest.raises(InvalidInput, match=r"data\.noise"):
        found.write({"data.sharpness": 3, "data.noise": 2})
    assert found.values() == {"data.noise": 0.25, "data.sharpness": 2}
    found.write({"data.sharpness": 3})
    put_back()
    assert found.read("data.sharpness") == 2


def test_two_datasets_cannot_declare_one_name() -> None:
    with pytest.raises(InvalidInput, match=r"declare data\.noise"):
        DataSettings(ConcatDataset([Noisy(as_dict=False), Noisy(as_dict=False)]))
    with pytest.raises(InvalidInput, match=r"declare data\.noise"):
        branchtrack.declare(Noisy(as_dict=False), noise=1.0)


def test_what_cannot_be_declared_is_refused_and_nothing_changed() -> None:
    class Fixed:
        """Has a part that cannot be set."""

        width, part = 1, property(lambda self: 0)

    one = Fixed()
    with pytest.raises(InvalidInput, match="does not take its settings"):
        branchtrack.declare(one, width=2, depth=3, part=4)
    assert vars(one) in ({}, {"width": 1}) and one.width == 1
    with pytest.raises(InvalidInput, match="does not take its settings"):
        branchtrack.declare([1, 2], noise=0.1)


def test_data_that_cannot_be_read_anew_declares_nothing_and_says_so(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    batches = branchtrack.declare(Listed(), noise=0.5)
    loops.train(home, data=lambda: batches, max_steps=1)
    assert "data.noise cannot be changed during this training" in caplog.text
    with pytest.raises(BranchtrackError, match=r"data\.noise"):
        home.order(home.node(1), {"data.noise": 0.3, "max_steps": 4})


class Listed:
    """Batches of no loader."""

    def __iter__(self) -> Iterator[Any]:
        yield torch.randn(4, 6), torch.randint(0, 2, (4,))
