"""A batch sampler starts anywhere in an epoch, and knows how far that is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from torch.utils.data import BatchSampler, SequentialSampler

from branchtrack.training.data.batch_sampler import Batches
from branchtrack.training.data.keyed import Batch


class Backwards:
    """A batch sampler of a script's own."""

    batch_size = 2

    def __iter__(self) -> Any:
        return iter([[5, 4], [3, 2], [1, 0]])

    def __len__(self) -> int:
        return 3


def position(**facts: Any) -> Any:
    """A position that restores nothing, and notes what it is asked to."""
    notes: list[str] = []
    defaults: dict[str, Any] = {
        "order": None,
        "ahead": None,
        "resumed": None,
        "skipped": 0,
        "redrawn": (),
        "key_seed": 1,
        "epoch": 2,
        "placeholders": False,
        "looks_ahead": False,
        "has_workers": False,
        "is_marking": False,
        "is_begun": lambda: True,
        "prepare_order": lambda: notes.append("order"),
        "settle": lambda: notes.append("settle"),
        "capture_generators": lambda look: {"look": look},
        "restore_generators": lambda states: notes.append("restore"),
        "notes": notes,
    }
    return SimpleNamespace(**{**defaults, **facts})


def batches(where: Any, size: int = 2, drop_last: bool = False, count: int = 7) -> Batches:
    return Batches(BatchSampler(SequentialSampler(range(count)), size, drop_last), where)


def test_an_epoch_from_its_start_is_that_of_the_sampler() -> None:
    assert list(batches(position())) == [[0, 1], [2, 3], [4, 5], [6]]
    assert list(batches(position(), drop_last=True)) == [[0, 1], [2, 3], [4, 5]]


def test_a_resumed_epoch_goes_on_after_its_samples_in_batches_of_any_size() -> None:
    where = position(resumed={"samples": 4, "batches": 2, "ahead": None}, skipped=2)
    assert list(batches(where)) == [[4, 5], [6]]
    assert where.notes[:2] == ["order", "settle"]
    assert list(batches(where, size=3)) == [[4, 5, 6]]


def test_the_state_before_the_next_batch_is_restored_where_it_was_stored() -> None:
    where = position(resumed={"samples": 4, "batches": 2, "ahead": {"a": 1}}, skipped=2)
    next(iter(batches(where)))
    assert where.notes == ["order", "restore"]


def test_placeholders_stand_for_the_batches_that_are_left_out() -> None:
    where = position(
        resumed={"samples": 2, "batches": 1, "ahead": None}, skipped=1, placeholders=True
    )
    assert list(batches(where)) == [[], [2, 3], [4, 5], [6]]


def test_a_sampler_of_the_scripts_own_is_read_up_to_the_position() -> None:
    where = position(resumed={"samples": 2, "batches": 1, "ahead": None}, skipped=1)
    assert list(Batches(Backwards(), where)) == [[3, 2], [1, 0]]
    assert list(Batches(Backwards(), position())) == [[5, 4], [3, 2], [1, 0]]


@pytest.mark.parametrize(
    ("size", "drop_last", "skipped"), [(2, False, 2), (3, False, 2), (2, True, 2), (5, True, 1)]
)
def test_batches_before_a_position_are_counted_in_the_present_size(
    size: int, drop_last: bool, skipped: int
) -> None:
    sampler = batches(position(), size, drop_last)
    assert sampler.to_skip({"samples": 4, "batches": 2}) == skipped


def test_an_iteration_outside_of_the_pass_is_that_of_the_sampler_itself() -> None:
    where = position(is_begun=lambda: False, resumed={"samples": 4}, skipped=2)
    assert list(batches(where)) == [[0, 1], [2, 3], [4, 5], [6]] and where.notes == []


def test_each_batch_for_workers_has_a_key_of_its_own() -> None:
    fetched = list(batches(position(is_marking=True, has_workers=True)))
    assert all(isinstance(batch, Batch) for batch in fetched)
    assert [batch.key for batch in fetched if isinstance(batch, Batch)] == [
        (1, 2, number) for number in range(4)
    ]


def test_it_has_what_its_sampler_has() -> None:
    sampler = batches(position())
    assert (len(sampler), sampler.batch_size, sampler.bounded(99)) == (4, 2, 7)
    sampler.sampler = SequentialSampler(range(2))
    assert list(sampler) == [[0, 1]]
