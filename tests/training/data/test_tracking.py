"""A tracked loader yields what it yields by itself, and is left as it was."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from branchtrack.training.data import tracking
from branchtrack.training.data.batch_sampler import Batches
from branchtrack.training.data.iterable import Streamed


class Stream(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        return iter(range(6))


def shuffled() -> DataLoader[Any]:
    return DataLoader(range(6), batch_size=2, shuffle=True)


def batches(loader: DataLoader[Any]) -> list[list[int]]:
    torch.manual_seed(0)
    return [batch.tolist() for batch in loader]


def test_tracking_changes_no_batch_and_no_draw() -> None:
    expected, after = batches(shuffled()), torch.rand(1)
    loader = shuffled()
    tracking.track(loader, 3, ahead=False).begin(0)
    assert batches(loader) == expected and torch.rand(1) == after


@pytest.mark.parametrize(
    ("loader", "kind"),
    [
        (shuffled(), "map"),
        (DataLoader(Stream(), batch_size=2), "iterable"),
        (DataLoader(range(6), batch_size=None), "other"),
    ],
)
def test_the_kind_of_a_loader_says_how_a_position_in_it_is_reached(
    loader: DataLoader[Any], kind: str
) -> None:
    assert tracking.track(loader, 3).kind == kind


def test_untracking_leaves_the_loader_as_it_was() -> None:
    for loader in (shuffled(), DataLoader(Stream(), batch_size=2)):
        before = loader.dataset, loader.batch_sampler, loader.collate_fn
        tracking.track(loader, 3)
        assert isinstance(loader.batch_sampler, Batches) or isinstance(loader.dataset, Streamed)
        tracking.untrack(loader)
        assert (loader.dataset, loader.batch_sampler, loader.collate_fn) == before


def test_persistent_workers_end_with_the_last_reference_to_their_loader() -> None:
    # Garbage collection waits 5 s for each: it ends the queues by which they are told first.
    loader = DataLoader(range(6), num_workers=1, persistent_workers=True)
    position = tracking.track(loader, 3, ahead=False)
    position.begin(0)
    batches(loader)
    workers = weakref.ref(loader._iterator)
    gc.disable()
    try:
        del loader
        assert workers() is None, "the position keeps them"
    finally:
        gc.enable()


def test_persistent_workers_of_a_tracked_loader_do_not_outlive_its_tracking() -> None:
    loader = DataLoader(range(6), num_workers=1, persistent_workers=True)
    tracking.track(loader, 3, ahead=False).begin(0)
    batches(loader)
    tracking.untrack(loader)
    assert loader._iterator is None and len(batches(loader)) == 6
    loader._iterator = None
