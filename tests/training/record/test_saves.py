"""Every save that was due is counted once: made, missed, or owed until the next one."""

from __future__ import annotations

import pytest

from branchtrack.training.record.saves import Saves

Reports = list[tuple[int, str]]


@pytest.fixture
def reports() -> Reports:
    """The saves that were reported as missed."""
    return []


@pytest.fixture
def saves(reports: Reports) -> Saves:
    """The saves of a segment that has not begun."""
    return Saves(lambda step, why: reports.append((step, why)))


def test_nothing_is_told_before_a_save_is_due(saves: Saves) -> None:
    saves.drop()
    saves.put_off("disk full")
    assert saves.as_dict() is None and not saves.waits


def test_a_save_that_was_made_is_counted_as_such(saves: Saves, reports: Reports) -> None:
    saves.ask(10)
    step = saves.take()
    assert (step, saves.owed) == (10, None)
    assert saves.as_dict(durable=step) == {"due": 1, "made": 1, "missed": []}
    saves.make(step)
    assert saves.as_dict() == {"due": 1, "made": 1, "missed": []} and reports == []


def test_a_save_that_is_put_off_stays_owed(saves: Saves) -> None:
    saves.ask(10)
    saves.put_off("disk full")
    assert (saves.owed, saves.waits) == (10, True)
    assert saves.take() == 10 and not saves.waits


def test_a_save_that_is_owed_until_the_next_is_missed_with_the_reason(
    saves: Saves, reports: Reports
) -> None:
    saves.ask(10)
    saves.put_off("disk full")
    saves.ask(20)
    assert reports == [(10, "disk full")] and not saves.waits
    saves.drop("the end")
    assert reports[1:] == [(20, "the end")]
    assert saves.as_dict() == {"due": 2, "made": 0, "missed": [10, 20]}


def test_a_commit_that_was_no_save_counts_for_none(saves: Saves, reports: Reports) -> None:
    saves.make(saves.take())
    saves.miss(saves.take(), "disk full")
    assert saves.as_dict() is None and reports == []
