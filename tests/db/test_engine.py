"""Transactions: whole or not at all, writers in turn, readers in nobody's way."""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Event, Thread

import pytest
from sqlalchemy import func, select, text

from branchtrack.checkpoints.packs import Store
from branchtrack.db import audit, engine
from branchtrack.db.engine import Database
from branchtrack.db.runs import get_run
from branchtrack.db.tables import runs
from branchtrack.errors import StorageError
from tests.trees_for_tests import make_tree


def count(database: Database) -> int:
    with database.read() as connection:
        return connection.execute(select(func.count()).select_from(runs)).scalar_one()


def test_a_transaction_that_fails_leaves_nothing(database: Database, store: Store) -> None:
    tree = make_tree(database, store)
    with pytest.raises(RuntimeError), database.transaction() as connection:
        audit.append(connection, tree.run.id, kind="run", ref="x", state="x", actor="x")
        connection.execute(runs.update().values(name="other"))
        raise RuntimeError
    with database.read() as connection:
        assert connection.execute(select(runs.c.name)).scalar_one() == "demo"
        assert audit.first_broken_seq(connection, tree.run.id) is None


def test_a_writer_does_not_wait_for_a_reader(database: Database, store: Store) -> None:
    with database.read() as reader:
        assert reader.execute(select(func.count()).select_from(runs)).scalar_one() == 0
        make_tree(database, store)
    assert count(database) == 1


def test_a_reader_does_not_wait_for_a_writer(database: Database, store: Store) -> None:
    make_tree(database, store)
    with database.transaction() as writer:
        writer.execute(runs.update().values(name="other"))
        assert count(database) == 1


def test_writers_take_turns(database: Database, store: Store) -> None:
    tree = make_tree(database, store)
    began = Event()

    def second() -> None:
        began.set()
        with database.transaction() as connection:
            audit.append(connection, tree.run.id, kind="run", ref="x", state="2", actor="x")

    with database.transaction() as connection:
        audit.append(connection, tree.run.id, kind="run", ref="x", state="1", actor="x")
        thread = Thread(target=second)
        thread.start()
        began.wait()
    thread.join()
    with database.read() as connection:
        states = [event.state for event in audit.since(connection, tree.run.id)]
    assert states[-2:] == ["1", "2"]


def test_a_failing_database_is_told_in_our_words(database: Database) -> None:
    with pytest.raises(StorageError, match="The database failed") as caught:
        with database.transaction() as connection:
            connection.execute(text("SELECT * FROM no_such_table"))
    assert "not made" in caught.value.safe


def test_sqlite_is_durable_and_checks_references(sqlite_database: Database) -> None:
    with sqlite_database.read() as connection:
        found = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    assert found == ["wal", 2, 1, 30_000]


def test_a_password_is_not_shown(tmp_path: object) -> None:
    database = Database("postgresql+psycopg://me:secret@host/name")
    assert "secret" not in database.shown_url


def test_numbers_that_json_lacks_come_back_from_a_column_and_texts_stay_texts(
    database: Database, store: Store
) -> None:
    tree = make_tree(database, store)
    kept = {"a": [math.inf, -math.inf, 1.5], "text": "Infinity", "in": {"x": math.nan}}
    with database.transaction() as connection:
        connection.execute(runs.update().values(entry_point=kept))
    with database.read() as connection:
        found = get_run(connection, tree.run.id).entry_point
    assert found is not None and found["a"] == kept["a"] and found["text"] == "Infinity"
    assert math.isnan(found["in"]["x"])


def test_many_threads_read_at_once(database: Database) -> None:
    everybody = threading.Barrier(30, timeout=60)

    def look() -> None:
        with database.read() as connection:
            connection.execute(text("SELECT 1"))
            everybody.wait()

    with ThreadPoolExecutor(30) as pool:
        for done in [pool.submit(look) for _ in range(30)]:
            done.result()


@pytest.mark.parametrize("config", ["postgres"], indirect=True)
def test_a_connection_that_was_lost_while_it_rested_is_replaced(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = text("SELECT pg_backend_pid()")
    with database.read() as lost:
        lost_pid = lost.execute(pid).scalar_one()
    with database.read() as same, database.read() as other:
        assert same.execute(pid).scalar_one() == lost_pid
        other.execute(text(f"SELECT pg_terminate_backend({lost_pid}, 5000)"))
    monkeypatch.setattr(engine, "_REST_SECONDS", 0.0)
    with database.read() as first, database.read() as second:
        assert lost_pid not in (first.execute(pid).scalar_one(), second.execute(pid).scalar_one())


@pytest.mark.parametrize("config", ["postgres"], indirect=True)
def test_what_is_read_often_stays_prepared_on_a_server(database: Database) -> None:
    for _ in range(8):
        count(database)
    with database.read() as connection:
        prepared = text("SELECT count(*) FROM pg_prepared_statements")
        assert connection.execute(prepared).scalar_one() > 0


def test_who_waits_for_too_long_is_told_so(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_TIMEOUT", 0.05)

    def write() -> None:
        with sqlite_database.transaction():
            pass

    with sqlite_database.transaction(), ThreadPoolExecutor(1) as pool:
        with pytest.raises(StorageError, match="busy"):
            pool.submit(write).result()
    write()


def test_a_writer_looks_by_itself_whether_another_process_has_finished(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_TIMEOUT", 5.0)
    other = Database(sqlite_database.url)
    looks: list[float] = []

    def look(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            writing.close()

    with ExitStack() as writing:
        writing.enter_context(other.transaction())
        monkeypatch.setattr(engine.time, "sleep", look)
        with sqlite_database.transaction() as connection:
            connection.execute(runs.update().values(name="new"))
            assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 5000
    assert len(looks) == 3 and max(looks) < 0.02
    other.close()


def test_a_database_that_is_kept_from_writers_is_told_in_our_words(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_TIMEOUT", 0.05)
    other = Database(sqlite_database.url)
    with other.transaction(), pytest.raises(StorageError, match="is locked") as caught:
        with sqlite_database.transaction():
            pass
    assert "Another process is holding the database" in caught.value.fix
    other.close()
