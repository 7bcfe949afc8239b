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


def stored_after(loader: DataLoader[Any], batches: int) -> tuple[dict[str, Any], list[Any]]:
    """The position after some batches of the first pass, and the batches after it."""
    position = tracking.track(loader, 3, ahead=False)
    taken = open_pass(loader, position, 0)
    for _ in range(batches):
        next(taken)
    return position.state(0, batches, fetched_ahead=False), list(taken)


def redrawn(
    loader: DataLoader[Any], stored: dict[str, Any], seeds: list[int], take: int | None = None
) -> tuple[list[Any], dict[str, Any]]:
    """The batches of a pass that is continued with its rest redrawn, and the position then."""
    position = tracking.track(loader, 3, ahead=False)
    batches = position.resume(position.redrawn_by(stored, seeds), rng.capture(devices=False), 11)
    taken = open_pass(loader, position, stored["epoch"])
    given = list(taken) if take is None else [next(taken) for _ in range(take)]
    return given, position.state(stored["epoch"], batches + len(given), fetched_ahead=False)


def test_the_rest_of_a_pass_is_redrawn_and_continued_in_its_middle() -> None:
    torch.manual_seed(0)
    stored, left = stored_after(shuffled(), 1)
    whole, _ = redrawn(shuffled(), stored, [7])
    assert whole != left and sorted(sum(whole, [])) == sorted(sum(left, []))
    first, middle = redrawn(shuffled(), stored, [7], take=1)
    assert [*first, *redrawn(shuffled(), middle, [])[0]] == whole
    again, _ = redrawn(shuffled(), middle, [9])
    assert again != whole[1:] and sorted(sum(again, [])) == sorted(sum(whole[1:], []))


def test_samples_of_a_dropped_batch_stay_dropped() -> None:
    torch.manual_seed(0)

    def dropping() -> DataLoader[Any]:
        return DataLoader(range(8), batch_size=3, shuffle=True, drop_last=True)

    stored, left = stored_after(dropping(), 1)
    orders = [sum(redrawn(dropping(), stored, [seed])[0], []) for seed in range(6)]
    assert all(sorted(order) == sorted(sum(left, [])) for order in orders)
    assert len({tuple(order) for order in orders}) > 1


def test_what_has_no_random_order_is_not_redrawn() -> None:
    for loader in (
        DataLoader(range(8), batch_size=2),
        DataLoader(range(8), batch_sampler=[[0, 1], [2, 3], [4, 5], [6, 7]]),
        stream(),
    ):
        position = tracking.track(loader, 3, ahead=False)
        stored = {"batches": 2, "samples": 4, "ahead": None}
        assert position.redrawn_by(stored, [7]) == stored
    fresh = {"batches": 0, "samples": 0, "ahead": None}
    assert tracking.track(shuffled(), 3).redrawn_by(fresh, [7]) == fresh


def test_a_position_tells_the_seed_of_the_next_pass_only_if_it_is_another() -> None:
    torch.manual_seed(0)
    stored, _ = stored_after(shuffled(), 2)
    assert "next_seed" not in stored and "redrawn" not in stored
    loader = shuffled()
    position = tracking.track(loader, 3, ahead=False)
    position.resume(stored, rng.capture(devices=False), 11)
    assert position.state(0, 2, fetched_ahead=False)["next_seed"] == 11
    assert position.state(1, 0, fetched_ahead=False)["next_seed"] == 11
