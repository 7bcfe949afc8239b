"""Intervals fit each other: what waits for something waits longer than that takes."""

from __future__ import annotations

from branchtrack.core import lifecycle
from branchtrack.training.record import intervals


def test_a_process_is_heard_of_often_before_it_counts_as_lost() -> None:
    assert 5 * intervals.HEARTBEAT_SECONDS <= lifecycle.SILENT_AFTER


def test_requests_are_looked_for_more_often_than_anything_is_written() -> None:
    assert intervals.SQLITE_POLL_SECONDS < intervals.POLL_SECONDS < intervals.FLUSH_SECONDS
    assert intervals.FLUSH_SECONDS < intervals.SERVER_FLUSH_SECONDS < intervals.HEARTBEAT_SECONDS
