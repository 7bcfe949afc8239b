"""A stored position is come back to with the same batches and the same random numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from branchtrack.training import rng
from branchtrack.training.data import tracking
from branchtrack.training.data.position import LoaderPosition


class Noisy(IterableDataset[float]):
    """Items that are drawn as they are read."""

    def __iter__(self) -> Iterator[float]:
        for number in range(8):
            yield number + float(torch.rand(1))


def shuffled(size: int = 2) -> DataLoader[Any]:
    return DataLoader(range(8), batch_size=size, shuffle=True)


def stream(size: int = 2) -> DataLoader[Any]:
    return DataLoader(Noisy(), batch_size=size)


def open_pass(loader: DataLoader[Any], position: LoaderPosition, epoch: int) -> Iterator[Any]:
    """The batches of a pass, each settled as a loop does."""
    position.begin(epoch)
    for batch in loader:
        position.settle()
        yield batch.tolist()


@pytest.mark.parametrize("make", [shuffled, stream])
def test_a_pass_continues_in_its_middle(make: Any) -> None:
    torch.manual_seed(0)
    loader = make()
    position = tracking.track(loader, 3, ahead=False)
    batches = open_pass(loader, position, 0)
    next(batches), next(batches)
    stored, now = position.state(0, 2, fetched_ahead=False), rng.capture(devices=False)
    expected = [*batches, float(torch.rand(1))]

    torch.manual_seed(99)
    again = make()
    resumed = tracking.track(again, 3, ahead=False)
    skipped = resumed.resume(stored, now)
    rest = list(open_pass(again, resumed, 0))
    if resumed.kind == "iterable":
        # What comes before is read again, and dropped by the loop.
        rest = rest[skipped:]
        rng.restore(now)
        expected = [*expected[:-1], float(torch.rand(1))]
        rng.restore(now)
    assert [*rest, float(torch.rand(1))] == expected


def test_the_next_pass_is_a_new_one() -> None:
    torch.manual_seed(0)
    loader = shuffled()
    position = tracking.track(loader, 3, ahead=False)
    first = list(open_pass(loader, position, 0))
    stored, now = position.state(1, 0, fetched_ahead=False), rng.capture(devices=False)
    second = list(open_pass(loader, position, 1))
    assert first != second and stored["batches"] == 0 and stored["order"] is None

    rng.restore(now)
    again = shuffled()
    resumed = tracking.track(again, 3, ahead=False)
    assert resumed.resume(stored, now) == 0
    assert list(open_pass(again, resumed, 1)) == second


def test_the_rest_of_a_pass_is_cut_anew_with_another_batch_size() -> None:
    torch.manual_seed(0)
    loader = shuffled()
    position = tracking.track(loader, 3, ahead=False)
    batches = open_pass(loader, position, 0)
    next(batches), next(batches)
    stored, now = position.state(0, 2, fetched_ahead=False), rng.capture(devices=False)
    left = sum(batches, [])

    again = shuffled(4)
    resumed = tracking.track(again, 3, ahead=False)
    assert resumed.resume(stored, now) == 1
    assert list(open_pass(again, resumed, 0)) == [left]


def test_only_one_iteration_is_the_one_of_a_pass() -> None:
    position = tracking.track(shuffled(), 3)
    assert not position.is_begun()
    position.begin(0)
    assert position.is_begun() and not position.is_begun()
