"""An end is recorded once, as it was."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from branchtrack import refusal_lines
from branchtrack.config import Config
from branchtrack.core.records import Launch
from branchtrack.db import audit, runs, seals, segments
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches, queue
from branchtrack.db.tables import launches as launch_rows
from branchtrack.errors import InvalidInput
from branchtrack.launching import endings, local_process
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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
@pytest.mark.parametrize(("status", "state"), [("stopped", "ended"), ("running", "failed")])
def test_a_signal_that_comes_again_at_the_end_of_an_answer_fails_nothing(
    started: Started,
    database: Database,
    config: Config,
    status: str,
    state: str,
    number: signal.Signals,
) -> None:
    launch = started(status)
    ended = endings.record(database, config, "w", launch, -number)
    assert (ended.state, ended.error is None) == (state, status == "stopped")


def crash(database: Database, config: Config, launch: Launch, exit_code: int = -9) -> Launch:
    return endings.record(database, config, "w", launch, exit_code)


def allow_retries(database: Database, launch: Launch, retries: int) -> None:
    with database.transaction() as connection:
        connection.execute(launch_rows.update().values(retries=retries))
        seals.renew(connection, launch_rows, launch.id)


def test_a_crash_is_followed_by_another_launch_of_the_branch(
    started: Started, database: Database, config: Config
) -> None:
    launch = started("running")
    allow_retries(database, launch, 1)
    assert crash(database, config, launch).state == "failed"
    with database.read() as connection:
        again = launches.repeated_by(connection, launch.id)
        assert again is not None
        assert (again.state, again.kind, again.branch) == ("queued", "continue", "next")
        assert again.retries == 0 and audit.first_broken_seq(connection, launch.run_id) is None


def test_a_crash_before_training_puts_the_launch_itself_back(
    started: Started, database: Database, config: Config
) -> None:
    launch = started()
    allow_retries(database, launch, 1)
    again = crash(database, config, launch)
    assert (again.id, again.state, again.retries) == (launch.id, "queued", 0)
    assert segment_status(database, launch) == "waiting"


def test_a_refusal_and_a_crash_too_many_are_final(
    started: Started, database: Database, config: Config
) -> None:
    launch = started("running")
    assert crash(database, config, launch).state == "failed"
    with database.read() as connection:
        assert launches.repeated_by(connection, launch.id) is None


def test_what_branchtrack_refused_is_not_started_again(
    started: Started, database: Database, config: Config
) -> None:
    launch = started()
    allow_retries(database, launch, 3)
    config.make_home()
    refusal = refusal_lines.format_refusal(InvalidInput("lr", 2, "less"))
    local_process.log_path(config, launch.id).write_text(refusal)
    assert crash(database, config, launch, 1).state == "failed"
    assert is_withdrawn(database, launch)
