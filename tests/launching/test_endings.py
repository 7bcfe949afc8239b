"""An end is recorded once, as it was."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from branchtrack.config import Config
from branchtrack.core.records import Launch
from branchtrack.db import audit, runs, segments
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches, queue
from branchtrack.launching import endings
from tests.launching.helpers import is_withdrawn, reread, segment_status
from tests.trees_for_tests import SETTINGS

Order = Callable[..., Launch]
Started = Callable[..., Launch]


@pytest.fixture
def started(order: Order, database: Database) -> Started:
    """A launch of the worker ``w`` with a process, whose segment has a status."""

    def make(status: str = "waiting", cancel: str | None = None) -> Launch:
        launch = order("next")
        with database.transaction() as connection:
            queue.claim(connection, "w", launch.id)
            launches.move(connection, launch.id, "running", "w", pid=77)
            if status != "waiting":
                segments.take(
                    connection,
                    launch.segment_id,
                    actor="trainer",
                    declared=[],
                    settings=SETTINGS,
                    max_steps=9,
                )
            if status not in ("waiting", "running"):
                segments.end(connection, launch.segment_id, status, actor="trainer")
            if cancel is not None:
                queue.cancel(connection, launch.id, cancel)
        return launch

    return make


#: Segment, exit code: the launch's state and the segment's status then.
CANCELLED = [
    ("stopped", 143, "cancelled", "stopped"),
    ("running", -signal.SIGKILL, "cancelled", "stopped"),
    # It was faster.
    ("finished", 0, "ended", "finished"),
]


@pytest.mark.parametrize(("status", "code", "state", "after"), CANCELLED)
def test_a_cancelled_launch_that_trained_keeps_its_branch(
    started: Started,
    database: Database,
    config: Config,
    status: str,
    code: int,
    state: str,
    after: str,
) -> None:
    launch = started(status, cancel="bob")
    ended = endings.record(database, config, "w", launch, code)
    assert (ended.state, ended.exit_code, segment_status(database, launch)) == (state, code, after)
    assert not is_withdrawn(database, launch)
    if state == "cancelled":
        assert (ended.error or "").startswith("Cancelled by bob.")
        assert ("is lost" in (ended.error or "")) == (status == "running")
    with database.read() as connection:
        assert audit.unlogged_changes(connection, launch.run_id) == []


def test_a_cancelled_launch_that_did_not_train_leaves_no_branch(
    started: Started, database: Database, config: Config
) -> None:
    launch = started("waiting", cancel="bob")
    assert endings.record(database, config, "w", launch, -signal.SIGTERM).state == "cancelled"
    assert is_withdrawn(database, launch)
    with database.read() as connection:
        names = {branch.name for branch in runs.list_branches(connection, launch.run_id)}
    assert "next" not in names


@pytest.mark.parametrize(
    ("status", "code", "state"),
    [
        ("waiting", -signal.SIGTERM, "queued"),
        ("waiting", None, "queued"),
        ("stopped", 143, "ended"),
        # It failed by itself.
        ("waiting", 1, "failed"),
    ],
)
def test_a_worker_that_ends_puts_back_what_had_not_begun(
    started: Started, database: Database, config: Config, status: str, code: int, state: str
) -> None:
    launch = started(status)
    assert endings.record(database, config, "w", launch, code, requeue=True).state == state
    assert reread(database, launch).worker == (None if state == "queued" else "w")


def test_an_end_that_was_recorded_stays(
    started: Started, database: Database, config: Config
) -> None:
    launch = started("finished")
    assert endings.record(database, config, "w", launch, 0).state == "ended"
    again = endings.record(database, config, "other", launch, 1, "It failed.")
    assert (again.state, again.exit_code, again.error) == ("ended", 0, None)
