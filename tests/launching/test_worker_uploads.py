"""A worker finishes what killed processes left on its machine for a bucket."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from branchtrack.checkpoints.location import open_store
from branchtrack.checkpoints.remote import spool
from branchtrack.config import Config
from branchtrack.db.schema import open_database
from branchtrack.environment_variables import STORE_VARIABLE
from branchtrack.launching.worker import Worker
from tests.control.store.test_spooled import leave
from tests.launching.helpers import wait_until
from tests.trees_for_tests import make_tree


def test_a_worker_uploads_what_killed_processes_left(
    bucket: str, tmp_path: Path, sqlite_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STORE_VARIABLE, bucket)
    opened = open_database(sqlite_config)
    remote = open_store(sqlite_config.store)
    head = make_tree(opened, remote).node("main", 3, kind="root")
    lines: list[str] = []
    leave(opened, remote, head, 4)
    worker = Worker(opened, sqlite_config, say=lines.append)
    worker.run(threading.Event(), once=True)
    assert any("1 were uploaded" in line for line in lines)
    # And what a child leaves that dies while it works.
    leave(opened, remote, head, 5)
    worker._finish_spools()
    wait_until(lambda: spool.waiting(sqlite_config.home)[0] == 0)
    wait_until(lambda: len(lines) == 2)
    opened.close()
