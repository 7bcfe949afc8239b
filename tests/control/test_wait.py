"""Who waits for a request learns how it ended, or that nothing will answer it."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Semaphore, Thread

import pytest
from sqlalchemy import Connection

from branchtrack import config, control
from branchtrack.checkpoints.packs import Store
from branchtrack.db import requests, segments
from branchtrack.db.engine import Database
from branchtrack.db.schema import open_database
from branchtrack.errors import (
    NotAnswered,
    NotLive,
    StorageError,
)
from tests.control.samples import SET_LR
from tests.db.notices.ears import listening
from tests.trees_for_tests import make_tree


def test_who_waits_is_told_how_the_request_ended(database: Database, store: Store) -> None:
    make_tree(database, store)
    request = control.submit(database, "demo", SET_LR, actor="me")

    def answer() -> None:
        with database.transaction() as connection:
            requests.move(connection, request.id, "applied", actor="run", step=5)
            requests.move(connection, request.id, "verified", actor="run", effective={"lr": 1e-3})

    thread = Thread(target=answer)
    thread.start()
    ended = control.wait(database, request.id, timeout=60)
    thread.join()
    assert (ended.state, ended.step, ended.effective) == ("verified", 5, {"lr": 1e-3})


def test_what_a_paused_run_carries_out_is_waited_for_but_for_settings(
    database: Database, store: Store
) -> None:
    tree = make_tree(database, store)
    payload = {"kind": "checkpoint"}
    asked, changed = (
        control.submit(database, "demo", body, actor="me") for body in (payload, SET_LR)
    )
    with database.transaction() as connection:
        segments.hold(connection, tree.segment("main").id, paused=True, step=1, actor="run")
        for request in (asked, changed):
            requests.move(connection, request.id, "applied", actor="run", step=1)
    assert control.wait(database, changed.id, timeout=60).state == "applied"
    with pytest.raises(NotAnswered):
        control.wait(database, asked.id, timeout=0.2)


def test_who_waits_too_long_is_told_that_the_request_stands(
    database: Database, store: Store
) -> None:
    make_tree(database, store)
    request = control.submit(database, "demo", {"kind": "stop"}, actor="me")
    with pytest.raises(NotAnswered, match="still be carried out"):
        control.wait(database, request.id, timeout=0.1)


def test_who_waits_for_a_process_that_ended_is_told(database: Database, store: Store) -> None:
    tree = make_tree(database, store)
    request = control.submit(database, "demo", {"kind": "stop"}, actor="me")
    tree.end("main", "failed")
    with pytest.raises(NotLive, match="ended"):
        control.wait(database, request.id, timeout=5)
    with database.read() as connection:
        assert requests.get(connection, request.id).state == "expired"


def test_a_database_that_fails_while_somebody_waits_is_asked_again(
    database: Database, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tree(database, store)
    request = control.submit(database, "demo", SET_LR, actor="me")
    read, fails = database.read, iter((True, False, True))

    @contextmanager
    def failing() -> Iterator[Connection]:
        with read() as connection:
            if next(fails, False):
                raise StorageError("The connection was ended.")
            yield connection

    monkeypatch.setattr(database, "read", failing)
    with pytest.raises(NotAnswered, match="still be carried out"):
        control.wait(database, request.id, timeout=0.5)
    fails = itertools.repeat(True)
    with pytest.raises(
        NotAnswered, match="is recorded, and its answer could not be read"
    ) as caught:
        control.wait(database, request.id, timeout=0.5)
    assert "The connection was ended." in str(caught.value)


def test_who_waits_on_postgres_is_woken_by_the_answer(
    postgres: str, tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = open_database(config.load(tmp_path / "home", postgres))
    make_tree(database, store)
    request = control.submit(database, "demo", SET_LR, actor="me")
    with listening(database, "some"):
        # Who looked by themselves would do so for the last time now.
        monkeypatch.setattr(sys.modules["branchtrack.control.wait"], "_POLL", 600.0)
        monkeypatch.setattr(sys.modules["branchtrack.control.wait"], "_LISTENING_POLL", 600.0)
        looks = Semaphore(0)
        answers = []

        def wait_for_answer() -> None:
            answers.append(
                control.wait(database, request.id, timeout=60, watch=lambda _: looks.release())
            )

        thread = Thread(target=wait_for_answer)
        thread.start()
        assert looks.acquire(timeout=60)
        with database.transaction() as connection:
            requests.move(connection, request.id, "applied", actor="run", step=5)
            requests.move(connection, request.id, "verified", actor="run")
        thread.join(60)
    assert [answer.state for answer in answers] == ["verified"]
    database.close()
