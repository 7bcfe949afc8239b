"""The look from outside: what is gone, stands still or fills the disk is said once."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from branchtrack.config import Config
from branchtrack.control.alerts import rules, watch
from branchtrack.control.alerts.watch import Watch
from branchtrack.core import lifecycle
from branchtrack.core.agents.records import Alert
from branchtrack.db import metrics, segments
from branchtrack.db.engine import Database
from branchtrack.db.tables import segments as rows
from branchtrack.db.watching import alerts
from tests.control.alerts.conftest import Forked

GONE = f"{socket.gethostname()}:99999999:1"
QUIET = {"stall": None, "disk": None}


@pytest.fixture
def looked(config: Config, database: Database, forked: Forked) -> Callable[[], list[Alert]]:
    """Looks once, as a process does that has just begun."""
    rules.change_rules(database, "demo", QUIET, actor="ann")
    return lambda: watch.look(database, config)


def change(database: Database, forked: Forked, **values: Any) -> None:
    """Change the row of main's segment."""
    with database.transaction() as connection:
        chosen = rows.c.id == forked[0].segment("main").id
        connection.execute(rows.update().where(chosen).values(**values))


def test_a_healthy_run_is_not_spoken_of(forked: Forked, looked: Callable[[], list[Alert]]) -> None:
    assert looked() == []


def test_a_process_that_is_gone_is_a_crash_said_once(
    database: Database, forked: Forked, looked: Callable[[], list[Alert]]
) -> None:
    change(database, forked, heartbeat_at=time.time() - 60, process=GONE)
    (alert,) = looked()
    assert (alert.kind, alert.level) == ("crash", "error")
    assert alert.text.startswith("the training process is gone, last heard of at step 30")
    assert alert.offer is not None and alert.offer["step"] == 30
    assert looked() == []


def test_a_process_that_was_only_silent_can_crash_later(
    config: Config, database: Database, forked: Forked, looked: Callable[[], list[Alert]]
) -> None:
    watching = Watch(database, config)
    change(database, forked, heartbeat_at=time.time() - 60, process="another-machine:1:1")
    (alert,) = watching.look()
    assert "is silent, last heard of at step 30" in alert.text
    assert watching.look() == looked() == []
    change(database, forked, heartbeat_at=time.time())
    assert watching.look() == []
    change(database, forked, heartbeat_at=time.time() - 60, process=GONE)
    assert ["is gone" in each.text for each in watching.look()] == [True]
    assert watching.look() == looked() == []


def test_a_training_that_failed_is_a_crash_with_its_error(
    database: Database, forked: Forked, looked: Callable[[], list[Alert]]
) -> None:
    with database.transaction() as connection:
        segments.end(
            connection, forked[0].segment("main").id, "failed", actor="t", error="ValueError: x"
        )
    assert [alert.text.split(": fork")[0] for alert in looked()] == [
        "training failed at step 30: ValueError: x"
    ]
    forked[0].end("cooler", "stopped")
    assert looked() == []


def test_a_crash_of_long_ago_and_one_that_is_not_watched_for_are_not_spoken_of(
    database: Database, forked: Forked, looked: Callable[[], list[Alert]]
) -> None:
    long_ago = time.time() - 30 * 86400
    change(database, forked, status="failed", ended_at=long_ago, process=None)
    assert looked() == []
    rules.change_rules(database, "demo", {"crash": False}, actor="ann")
    change(database, forked, ended_at=time.time())
    assert looked() == []


def test_no_update_for_a_while_is_a_stall_unless_it_is_paused(
    database: Database, forked: Forked, looked: Callable[[], list[Alert]]
) -> None:
    tree, _nodes = forked
    rules.change_rules(database, "demo", {"stall": 5}, actor="ann")
    old = time.time() - 100
    change(database, forked, started_at=old, status="paused")
    with database.transaction() as connection:
        connection.exec_driver_sql(f"UPDATE nodes SET created_at = {old}")
        metrics.append(connection, tree.segment("main").id, [("loss", 30, 1.0, old)])
        connection.exec_driver_sql(f"UPDATE metric_points SET time = {old}")
    tree.end("cooler")
    assert looked() == []
    change(database, forked, status="running")
    (alert,) = looked()
    assert alert.kind == "stall" and "still at step 30" in alert.text
    assert looked() == []


def test_a_loop_that_logs_nothing_stands_still_only_once_it_was_seen_to(
    config: Config, database: Database, forked: Forked, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree, _nodes = forked
    rules.change_rules(database, "demo", {"stall": 50, "disk": None}, actor="ann")
    monkeypatch.setattr(lifecycle, "SILENT_AFTER", 1e9)
    change(database, forked, started_at=time.time() - 1000, step=500)
    tree.end("cooler")
    watching, now = Watch(database, config), time.time()
    assert watching.look() == []
    monkeypatch.setattr(time, "time", lambda: now + 40)
    assert watching.look() == []
    monkeypatch.setattr(time, "time", lambda: now + 60)
    assert [alert.step for alert in watching.look()] == [500]


def test_a_disk_without_room_for_the_next_checkpoints_is_said_once_for_each_training(
    database: Database,
    forked: Forked,
    looked: Callable[[], list[Alert]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free = {"bytes": 10**12}
    monkeypatch.setattr(watch, "free_bytes", lambda folder: free["bytes"])
    rules.change_rules(database, "demo", {"disk": 0}, actor="ann")
    assert looked() == []
    free["bytes"] = 100
    raised = looked()
    assert [alert.kind for alert in raised] == ["disk", "disk"]
    assert "has 100 B free, and should have 512 B" in raised[0].text
    assert looked() == []


def test_the_disk_of_a_store_that_is_not_there_yet_is_that_of_its_folder(tmp_path: Path) -> None:
    assert watch.free_bytes(tmp_path / "home" / "store") > 0


def test_two_that_look_at_once_write_one_row(
    config: Config, database: Database, forked: Forked, looked: Callable[[], list[Alert]]
) -> None:
    change(database, forked, heartbeat_at=time.time() - 60, process="gone:1:1")
    both = [Watch(database, config), Watch(database, config)]
    ids = {alert.id for each in both for alert in each.look()}
    with database.read() as connection:
        assert {alert.id for alert in alerts.after(connection, 0, 9)} == ids and len(ids) == 1
