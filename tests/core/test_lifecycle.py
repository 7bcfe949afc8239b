"""States and the legal moves between them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from branchtrack.core import lifecycle
from branchtrack.core.records import Segment

RUNNING = Segment(
    id="s",
    run_id="r",
    branch_id="b",
    position=0,
    start_node_id=None,
    status="running",
    pid=1,
    host="h",
    step=0,
    max_steps=None,
    rate=None,
    declared=[],
    settings={},
    script=None,
    error=None,
    started_at=100.0,
    heartbeat_at=100.0,
    ended_at=None,
)


def test_a_request_goes_from_received_to_verified_in_order() -> None:
    life = ["received", "accepted", "applied", "verified"]
    for before, after in zip(life, life[1:], strict=False):
        assert before in lifecycle.sources("request", after)


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("request", "received", "applied"),
        ("request", "verified", "applied"),
        ("segment", "finished", "running"),
        ("launch", "ended", "running"),
    ],
)
def test_any_other_move_is_illegal(kind: str, before: str, after: str) -> None:
    assert before not in lifecycle.sources(kind, after)


def test_a_running_segment_without_a_heartbeat_is_lost() -> None:
    assert lifecycle.segment_status(RUNNING, 100.0 + lifecycle.LOST_AFTER) == "running"
    assert lifecycle.segment_status(RUNNING, 101.0 + lifecycle.LOST_AFTER) == "lost"


@pytest.mark.parametrize(
    ("gone", "limit"), [(True, lifecycle.GONE_AFTER), (False, lifecycle.SILENT_AFTER)]
)
def test_a_process_of_this_machine_is_looked_at(gone: bool, limit: float) -> None:
    segment = replace(RUNNING, gone=gone)
    assert lifecycle.segment_status(segment, 99.9 + limit) == "running"
    assert lifecycle.segment_status(segment, 101.0 + limit) == "lost"
    assert lifecycle.segment_status(replace(RUNNING, status="stopped"), 1e9) == "stopped"


def test_a_run_is_as_lively_as_its_liveliest_branch() -> None:
    assert lifecycle.run_status(["finished", "running"]) == "running"
    assert lifecycle.run_status(["finished", "waiting"]) == "waiting"
    assert lifecycle.run_status(["failed", "finished"]) == "failed"
    assert lifecycle.run_status([]) == "empty"


def test_nothing_follows_an_end() -> None:
    # But for what was carried out after all, by a process that was taken for dead.
    assert "expired" in lifecycle.sources("request", "applied")
    for state in lifecycle.REQUEST_ENDS - {"expired"}:
        assert not any(
            state in lifecycle.sources("request", after)
            for after in ("accepted", "applied", *lifecycle.REQUEST_ENDS)
        )
    for state in lifecycle.LAUNCH_ENDS:
        assert not any(
            state in lifecycle.sources("launch", after)
            for after in ("queued", "starting", "running", *lifecycle.LAUNCH_ENDS)
        )
