"""A recorder notices that its files were moved, and that others have written."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from unittest.mock import patch

import pytest

from branchtrack import config
from branchtrack.checkpoints.packs import Store
from branchtrack.config import Config
from branchtrack.db.engine import Database
from branchtrack.db.notices.channel import tell
from branchtrack.db.notices.listener import Listener
from branchtrack.db.schema import open_database
from branchtrack.errors import StorageError
from branchtrack.training.record import intervals
from branchtrack.training.record.watches import ChangeWatch, FileWatch, StoreWatch
from tests.checkpoints.tensors_for_tests import tensors
from tests.db.notices.ears import listening
from tests.trees_for_tests import make_tree


def path_of(database: Database) -> Path:
    assert database.path is not None
    return database.path


def test_a_database_that_is_gone_is_told_until_it_is_back(sqlite_database: Database) -> None:
    watch, path = FileWatch(sqlite_database), path_of(sqlite_database)
    watch.check()
    path.rename(path.with_suffix(".away"))
    for _ in range(2):
        with pytest.raises(StorageError, match="is gone"):
            watch.check()
    path.with_suffix(".away").rename(path)
    watch.check()


def test_a_database_that_was_replaced_is_written_to_and_said(
    sqlite_database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    watch, path = FileWatch(sqlite_database), path_of(sqlite_database)
    shutil.copy(path, path.with_suffix(".copy"))
    path.with_suffix(".copy").rename(path)
    with caplog.at_level(logging.WARNING):
        watch.check()
        watch.check()
    assert [record.getMessage().count("was replaced") for record in caplog.records] == [1]


def test_a_store_that_is_not_made_yet_is_not_missed(store: Store) -> None:
    StoreWatch(store).check()


def test_a_store_and_a_pack_that_were_there_are_missed(store: Store) -> None:
    pack = store.put(tensors(), {})
    watch = StoreWatch(store)
    watch.newest = pack.id
    watch.check()
    Path(store.describe(pack.id)).unlink()
    with pytest.raises(StorageError, match=pack.id):
        watch.check()
    shutil.rmtree(store.describe())
    with pytest.raises(StorageError, match="moved, deleted or replaced"):
        watch.check()


def test_a_store_that_appears_later_is_watched_from_then_on(store: Store) -> None:
    watch = StoreWatch(store)
    store.put(tensors(), {})
    watch.check()
    shutil.rmtree(store.describe())
    with pytest.raises(StorageError):
        watch.check()


def test_only_what_others_commit_is_a_change(
    sqlite_database: Database, sqlite_config: Config, store: Store
) -> None:
    watch = ChangeWatch(sqlite_database, "segment")
    assert watch.anything()
    watch.seen()
    assert not watch.anything()
    other = open_database(sqlite_config)
    make_tree(other, store)
    other.close()
    assert watch.anything() and watch.anything()
    watch.seen()
    assert not watch.anything()


def test_a_database_that_cannot_be_asked_may_have_changed(sqlite_database: Database) -> None:
    watch = ChangeWatch(sqlite_database, "segment")
    watch.anything()
    watch.seen()
    sqlite_database.close()
    path_of(sqlite_database).write_bytes(b"no database" * 100)
    assert watch.anything()


def test_postgres_is_looked_at_when_it_tells_of_something_or_rarely(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = open_database(config.load(tmp_path / "home", postgres))
    watch = ChangeWatch(database, "some")
    assert watch.anything()
    with listening(database, "another"):
        monkeypatch.setattr(intervals, "LISTENING_POLL_SECONDS", 600.0)
        watch.wait(0.0)
        watch.seen()
        assert not watch.anything()
        with database.transaction() as connection:
            tell(connection, "some")
        watch.wait(60.0)
        # Until it has been read, also if reading fails.
        assert watch.anything() and watch.anything()
        monkeypatch.setattr(intervals, "LISTENING_POLL_SECONDS", 0.0)
        watch.seen()
        assert watch.anything()
    watch.close()
    database.close()


def test_postgres_that_tells_nothing_is_looked_at_each_time(postgres: str, tmp_path: Path) -> None:
    database = open_database(config.load(tmp_path / "home", postgres))
    with patch.object(Listener, "_connect", side_effect=OSError("refused")):
        watch = ChangeWatch(database, "some")
        for _ in range(3):
            assert watch.anything()
            watch.seen()
        watch.close()
        database.close()
