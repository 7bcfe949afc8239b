"""A loop is given bounds that let it end anywhere, and a resumed one the end of its node."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from branchtrack.errors import InvalidInput
from branchtrack.training.trainer import bounds

#: Epochs, updates of an epoch, examples, samples, batch size, batches of an epoch, last update.
COUNTS = (3, 6, 24, 72, 4, 12, 18)
BATCHES = range(12)
ENDLESS = iter(BATCHES)


def trainer(*, epoch: int = 1) -> Any:
    return SimpleNamespace(
        args=SimpleNamespace(gradient_accumulation_steps=2),
        _bt_session=object(),
        _bt_position=SimpleNamespace(epoch=epoch),
        _bt_bounds=None,
        _bt_schedule=None,
    )


def base(step: int, mode: str = "exact", **settings: Any) -> Any:
    fork = SimpleNamespace(step=step, settings=settings)
    return SimpleNamespace(fork=fork, mode=mode, overrides=settings)


def test_a_loop_ends_by_its_last_update_alone() -> None:
    opened = trainer()
    assert bounds.open_counts(opened, COUNTS, BATCHES) == (sys.maxsize, 12, *COUNTS[2:])
    limits = opened._bt_bounds
    assert (limits.epochs, limits.per_epoch, limits.max_steps, limits.accumulation) == (3, 6, 18, 2)


@pytest.mark.parametrize("without", ["_bt_session", "_bt_position", "length", "epochs"])
def test_a_loop_that_cannot_continue_elsewhere_keeps_its_bounds(without: str) -> None:
    opened, counts = trainer(), COUNTS
    if without == "epochs":
        counts = (0, *COUNTS[1:])
    elif without != "length":
        setattr(opened, without, None)
    dataloader = ENDLESS if without == "length" else BATCHES
    assert bounds.open_counts(opened, counts, dataloader) == counts and opened._bt_bounds is None


def test_a_resumed_loop_ends_where_its_node_says() -> None:
    counts = bounds.resumed_counts(trainer(), base(9, max_steps=40), COUNTS, BATCHES)
    assert counts == (33, *COUNTS[1:6], 40)


def test_a_loop_that_has_only_the_weights_has_a_schedule_for_what_is_left() -> None:
    opened = trainer()
    counts = bounds.resumed_counts(opened, base(9, "weights"), COUNTS, BATCHES)
    assert counts[-1] == 27 and opened._bt_schedule == {"steps": 18, "path": []}


def test_data_without_a_length_is_read_until_the_last_update() -> None:
    counts = bounds.resumed_counts(trainer(), base(9, max_steps=40), COUNTS, ENDLESS)
    assert (counts[1], counts[5], counts[6]) == (40, 80, 40)


def test_a_node_at_the_end_cannot_be_continued() -> None:
    with pytest.raises(InvalidInput, match="max_steps"):
        bounds.resumed_counts(trainer(), base(40, max_steps=40), COUNTS, BATCHES)
