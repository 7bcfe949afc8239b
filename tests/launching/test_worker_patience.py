"""What fails beside a training, or for one launch alone, ends no worker."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.config import Config
from branchtrack.core.records import Launch
from branchtrack.db.engine import Database
from branchtrack.errors import StorageError
from branchtrack.launching import local_process, starts
from branchtrack.launching.worker import Worker
from tests.launching.helpers import change_entry_point, reread

Order = Callable[..., Launch]
Train = Callable[..., None]


def test_a_launch_that_is_started_again_has_the_variables_that_were_chosen(
    worker: Worker, database: Database, store: Store, config: Config
) -> None:
    environment = {"given": {"MINE": "1"}, "keep": False}
    launch = control.create_launch(
        database, store, "fake", actor="me", environment=environment, retries=1
    )
    crash = "import os; print(os.environ.get('MINE'), flush=True); os._exit(9)"
    change_entry_point(database, argv=[sys.executable, "-c", crash])
    worker.run(threading.Event(), once=True)
    assert reread(database, launch).state == "failed"
    log = local_process.log_path(config, launch.id).read_text()
    assert [line for line in log.splitlines() if not line.startswith("branchtrack")] == ["1", "1"]


def test_a_launch_that_cannot_be_prepared_fails_and_the_next_is_carried_out(
    train: Train,
    order: Order,
    worker: Worker,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train("--steps", "3")
    broken, whole = order("broken"), order("whole")
    prepare = starts.prepare

    def prepared(connection: Any, launch: Launch, **how: Any) -> starts.Start:
        if launch.id == broken.id:
            raise ValueError("its record is not as it should be")
        return prepare(connection, launch, **how)

    monkeypatch.setattr(starts, "prepare", prepared)
    worker.run(threading.Event(), once=True)
    failed = reread(database, broken)
    assert failed.state == "failed" and "ValueError: its record is not" in (failed.error or "")
    assert reread(database, whole).state == "ended"


@pytest.mark.parametrize("alone", [True, False])
def test_a_database_that_fails_while_something_trains_is_tried_again(
    alone: bool,
    train: Train,
    order: Order,
    database: Database,
    config: Config,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train("--steps", "3", "--seconds", "0.1")
    launch, said = order("next"), list[str]()
    worker, look = Worker(database, config, say=said.append), Worker.look
    fails = iter([False, True])

    def failing(self: Worker) -> list[Launch]:
        if self.children and next(fails, False):
            raise StorageError("The connection was ended.")
        return look(self)

    monkeypatch.setattr(Worker, "look", failing)
    worker.run(threading.Event(), once=not alone, only=launch.id if alone else None)
    assert reread(database, launch).state == "ended"
    retried = [line for line in said if "Trying again" in line]
    assert retried == ["The connection was ended. Trying again."]
