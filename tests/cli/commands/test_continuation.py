"""`continue` as a user runs it: a real process goes on in the same branch."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytest
from sqlalchemy import update

from branchtrack.config import Config
from branchtrack.db import runs, segments
from branchtrack.db.engine import Database
from branchtrack.db.tables import segments as segment_rows
from tests.cli.conftest import Call, train_here
from tests.launching.helpers import SCRIPT, change_entry_point

#: A process that ran on a machine that nobody has heard of for a minute.
GONE = {"status": "running", "ended_at": None, "process": "elsewhere:1:1", "host": "elsewhere"}


@pytest.fixture
def killed(sqlite_config: Config, sqlite_database: Database) -> Database:
    """A run ``fake`` at step 4, whose process was killed; it would train to step 6."""
    train_here(sqlite_config, "--steps", "4")
    change_entry_point(sqlite_database, argv=[sys.executable, str(SCRIPT), "fake", "--steps", "6"])
    lose(sqlite_database)
    return sqlite_database


def lose(database: Database) -> None:
    with database.transaction() as connection:
        facts = {**GONE, "heartbeat_at": time.time() - 60}
        connection.execute(update(segment_rows).values(**facts))


def branch(database: Database) -> Any:
    with database.read() as connection:
        return segments.get(connection, runs.find_branch(connection, "fake").segment_id or "")


def test_a_killed_branch_goes_on_to_its_end(call: Call, killed: Database) -> None:
    answer = call("continue", "fake", "--json")
    assert answer.code == 0, answer.err
    launch = answer.json
    assert (launch["branch"], launch["state"], launch["kind"]) == ("main", "ended", "continue")
    assert (branch(killed).step, branch(killed).status) == (6, "finished")
    (summary,) = call("runs", "--json").json
    assert (summary["branches"], summary["status"]) == (1, "finished")
    assert call("curve", "fake", "loss", "--json").json["steps"] == [1, 2, 3, 4, 5, 6]


def test_all_that_crashed_goes_on_and_nothing_twice(call: Call, killed: Database) -> None:
    listed = call("continue", "--all-crashed", "--dry-run", "--json")
    assert (listed.code, listed.json) == (0, [{"branch": "fake/main"}])
    (launch,) = call("continue", "--all-crashed", "--json").json
    assert (launch["branch"], launch["state"]) == ("main", "ended")
    answer = call("continue", "--all-crashed")
    assert (answer.code, answer.out) == (0, "No branch has crashed.\n")


def test_a_run_or_all_that_crashed_has_to_be_said(call: Call, killed: Database) -> None:
    assert call("continue").code == 2
    assert call("continue", "fake", "--all-crashed").code == 2
    assert call("continue", "nothing").code == 2
    answer = call("continue", "fake", "--retry", "-1")
    assert answer.code == 2 and "0 to 100" in answer.err


def test_a_failure_has_the_exit_code_of_the_process(call: Call, killed: Database) -> None:
    argv = [sys.executable, str(SCRIPT), "fake", "--steps", "9", "--crash-at", "6"]
    change_entry_point(killed, argv=argv)
    answer = call("continue", "fake", "--json")
    assert (answer.code, answer.json["state"]) == (1, "failed")
    assert "exploded at step 6" in answer.json["error"]
