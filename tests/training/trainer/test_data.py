"""A Trainer's position in its data is counted in passes and batches, and goes on from there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from branchtrack.training import rng
from branchtrack.training.settings.dataset_settings import declare
from branchtrack.training.trainer.data import TrainerPosition


def loader(count: int = 8) -> Any:
    return DataLoader(range(count), batch_size=2)


class Batches:
    """A loader of a script's own."""

    def __init__(self, count: int = 4) -> None:
        self.count = count

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.count))

    def __len__(self) -> int:
        return self.count


class Scaled(torch.utils.data.Dataset[float]):
    """Rows that a setting scales."""

    scale = 1.0

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> float:
        return self.scale * index


def train(position: TrainerPosition, source: Any, count: int) -> None:
    """Train on some batches, one for each update."""
    batches = iter(source)
    for _ in range(count):
        next(batches)
        position.fetched(1)


def test_the_next_pass_begins_with_the_next_epoch() -> None:
    source = Batches()
    position = TrainerPosition(source, 3, 2)
    position.begin()
    train(position, source, 4)
    assert position.state() == {"epoch": 0, "batches": 4} and position.left() == 0
    position.end(cut_short=False)
    assert position.state() == {"epoch": 1, "batches": 0}
    position.begin()
    assert (position.epoch, position.left(), position.over) == (1, 4, False)


@pytest.mark.parametrize(("trained", "over"), [(2, False), (4, True)])
def test_a_pass_that_training_cut_short_is_over_only_if_it_was_read(
    trained: int, over: bool
) -> None:
    source = Batches()
    position = TrainerPosition(source, 3, 2)
    position.begin()
    train(position, source, trained)
    position.end(cut_short=True)
    assert position.over is over


def test_a_loader_without_a_length_is_not_over_where_it_was_cut_short() -> None:
    position = TrainerPosition(iter(()), 3, 2)
    position.begin()
    position.end(cut_short=True)
    assert not position.over and position.batch_size is None


def test_a_tracked_loader_goes_on_after_the_batches_it_had() -> None:
    source = loader()
    position = TrainerPosition(source, 3, 2)
    position.begin()
    train(position, source, 1)
    stored = position.state()
    again = loader()
    resumed = TrainerPosition(again, 3, 2)
    resumed.resume(stored, rng.capture(), None)
    resumed.begin()
    assert resumed.began_within and resumed.batches == 1
    # An accelerate loader drops the placeholder unread.
    assert list(again.batch_sampler) == [[], [2, 3], [4, 5], [6, 7]]


def test_the_position_before_the_newest_batches_is_shown_within_a_block_alone() -> None:
    source = Batches()
    position = TrainerPosition(source, 3, 2)
    position.begin()
    position.fetched(2)
    with position.before_fetching():
        assert position.state() == {"epoch": 0, "batches": 0}
    assert position.state() == {"epoch": 0, "batches": 2}


def test_a_pass_that_began_out_of_step_fetches_fewer_batches_once() -> None:
    position = TrainerPosition(Batches(), 3, 2)
    position.begin()
    position.fetched(3)
    assert position.wanted(4, 4) == 1
    position.fetched(1)
    assert position.wanted(4, 4) == 4


def test_in_data_that_grew_a_foreign_loader_begins_the_next_pass() -> None:
    position = TrainerPosition(Batches(), 3, 2)
    stored = {"epoch": 1, "batches": 2}
    assert position.in_changed_data(stored) == {"epoch": 2, "batches": 0}


def test_without_declared_settings_batches_are_the_trainers_own() -> None:
    position = TrainerPosition(loader(), 3, 2)
    batches = iter([1, 2])
    assert position.reading(batches) is batches
    assert TrainerPosition(Batches(), 3, 2).settings is None


def test_a_changed_setting_of_the_data_holds_from_the_next_batch() -> None:
    rows = declare(Scaled(), scale=1.0)
    source = DataLoader(rows, batch_size=2)
    position = TrainerPosition(source, 3, 2)
    position.begin()
    batches = iter(source)
    assert next(iter(position.reading(batches))).tolist() == [0.0, 1.0]
    position.fetched(1)
    assert position.settings is not None
    position.settings.write({"data.scale": 10.0})
    assert next(iter(position.reading(batches))).tolist() == [20.0, 30.0]
