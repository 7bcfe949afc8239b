"""A database that can only be read is read, newest lines included, and never written."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from branchtrack.checkpoints.location import open_store
from branchtrack.config import Config, load
from branchtrack.db import readonly, schema
from branchtrack.db.engine import Database
from branchtrack.db.schema import open_database
from branchtrack.errors import DatabaseBehind, DatabaseMissing, HomeError, ReadOnlyHome
from tests.trees_for_tests import make_forked_tree


@pytest.fixture
def written(sqlite_config: Config) -> Config:
    """A home with a run ``demo`` that nobody has open."""
    database = open_database(sqlite_config, create=True)
    make_forked_tree(database, open_store(sqlite_config.store))
    database.close()
    return sqlite_config


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if no file could be written: permissions say nothing to a superuser."""
    monkeypatch.setattr(readonly, "is_read_only", Path.is_file)


@pytest.fixture
def reader(written: Config, read_only: None) -> Iterator[Database]:
    found = open_database(written)
    yield found
    found.close()


def names(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(text("SELECT name FROM runs ORDER BY name")).scalars())


def beside(config: Config) -> set[str]:
    return {path.name for path in config.home.iterdir() if path.name.startswith("branchtrack.db")}


def write(path: Path, name: str) -> sqlite3.Connection:
    """A writer that has committed and stays: what it wrote lies in the ``-wal``."""
    writer = sqlite3.connect(path)
    writer.execute("PRAGMA wal_autocheckpoint=0")
    writer.execute("UPDATE runs SET name = ?", (name,))
    writer.commit()
    return writer


def test_it_is_read_without_a_file_beside_it(reader: Database, written: Config) -> None:
    assert reader.read_only and names(reader) == ["demo"]
    assert beside(written) == {"branchtrack.db"}


def test_nothing_is_written_and_the_refusal_says_what_helps(reader: Database) -> None:
    with pytest.raises(ReadOnlyHome, match="Copy the folder") as caught:
        with reader.transaction():
            pass
    assert isinstance(caught.value, HomeError)


def test_what_a_live_writer_has_not_put_into_the_file_yet_is_read(
    reader: Database, written: Config
) -> None:
    with closing(write(written.home / "branchtrack.db", "newer")):
        assert names(reader) == ["newer"]
    assert names(reader) == ["newer"]


def test_without_the_index_of_a_writer_a_copy_is_read(
    written: Config, read_only: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount = tmp_path / "mount"
    mount.mkdir()
    with closing(write(written.home / "branchtrack.db", "newer")):
        for name in ("branchtrack.db", "branchtrack.db-wal"):
            shutil.copy(written.home / name, mount / name)
    real, made = readonly._open, []

    def on_a_mount(path: Path, how: str) -> sqlite3.Connection:
        made.append(path)
        if path.parent == mount and how == "mode=ro":
            raise sqlite3.OperationalError("unable to open database file")
        return real(path, how)

    monkeypatch.setattr(readonly, "_open", on_a_mount)
    database = Database(f"sqlite:///{mount}/branchtrack.db")
    assert names(database) == names(database) == ["newer"]
    copies = {path for path in made if path.parent != mount}
    assert len(copies) == 1 and {path.name for path in mount.iterdir()} == {
        "branchtrack.db",
        "branchtrack.db-wal",
    }
    database.close()
    assert not any(path.exists() for path in copies)


def test_an_older_one_says_that_a_copy_can_be_upgraded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load(tmp_path / "old")
    config.make_home()
    database = Database(config.database_url)
    schema.upgrade(database, "0002")
    database.close()
    monkeypatch.setattr(readonly, "is_read_only", Path.is_file)
    with pytest.raises(DatabaseBehind, match="copy its folder.*--home COPY db upgrade"):
        open_database(config)


def test_where_nothing_is_there_that_is_said(tmp_path: Path, read_only: None) -> None:
    with pytest.raises(DatabaseMissing):
        open_database(load(tmp_path / "none"))


def test_permissions_and_the_folder_decide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "branchtrack.db"
    assert not readonly.is_read_only(file)
    file.touch()
    assert not readonly.is_read_only(file)
    for closed in (file, tmp_path):

        def access(path: Any, mode: int, closed: Path = closed) -> bool:
            return not (Path(path) == closed and mode & os.W_OK)

        monkeypatch.setattr(os, "access", access)
        assert readonly.is_read_only(file)
