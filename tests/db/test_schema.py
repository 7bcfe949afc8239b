"""The schema is what alembic makes; databases of other versions are refused with the way out."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import text

from branchtrack import trust
from branchtrack.checkpoints.packs import Store
from branchtrack.config import Config, load
from branchtrack.db import schema
from branchtrack.db.engine import Database
from branchtrack.db.schema import open_database
from branchtrack.errors import (
    DatabaseAhead,
    DatabaseBehind,
    DatabaseForeign,
    DatabaseMissing,
    DatabaseUnreadable,
    HomeError,
)
from tests.trees_for_tests import make_tree


def stamp(config: Config, revision: str) -> None:
    database = Database(config.database_url)
    with database.transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": revision})
    database.close()


def test_an_older_database_is_refused_with_the_command_to_run(config: Config) -> None:
    stamp(config, "0000")
    with pytest.raises(DatabaseBehind, match="branchtrack db upgrade"):
        open_database(config)


def test_an_empty_database_is_upgraded_to_the_head(empty_postgres: str, tmp_path: Path) -> None:
    for url in (empty_postgres, f"sqlite:///{tmp_path}/new.db"):
        database = Database(load(tmp_path, url).database_url)
        assert schema.upgrade(database) == (None, schema.HEAD)
        assert schema.upgrade(database) == (schema.HEAD, schema.HEAD)
        database.close()


def test_a_migration_can_be_taken_back(database: Database) -> None:
    from alembic import command

    with database.transaction() as connection:
        command.downgrade(schema.alembic_config(connection), "base")
    assert schema.upgrade(database) == (None, schema.HEAD)


def test_a_newer_database_is_refused_and_not_changed(config: Config) -> None:
    stamp(config, "9999")
    for create in (False, True):
        with pytest.raises(DatabaseAhead, match="newer than"):
            open_database(config, create=create)
    database = Database(config.database_url)
    with pytest.raises(DatabaseAhead):
        schema.upgrade(database)
    assert schema.revision(database) == "9999"
    database.close()


def test_a_text_file_is_no_database_and_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "branchtrack.db"
    file.write_text("Dear diary, " * 500)
    for create in (False, True):
        with pytest.raises(DatabaseUnreadable, match="not a database"):
            open_database(load(tmp_path), create=create)
    assert file.read_text() == "Dear diary, " * 500


@pytest.mark.parametrize("loss", ["DELETE FROM alembic_version", "DROP TABLE alembic_version"])
def test_tables_without_a_version_are_not_taken_for_no_database(config: Config, loss: str) -> None:
    database = Database(config.database_url)
    with database.transaction() as connection:
        connection.execute(text(loss))
    database.close()
    for create in (False, True):
        with pytest.raises(DatabaseUnreadable, match="of which version"):
            open_database(config, create=create)


def test_reading_does_not_create_a_database(tmp_path: Path) -> None:
    with pytest.raises(DatabaseMissing, match="branchtrack init"):
        open_database(load(tmp_path / "home"))
    assert not (tmp_path / "home").exists()


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(HomeError, match="--home"):
        open_database(load(tmp_path / "home"), create=True)


@pytest.mark.parametrize(
    "url", ["nonsense", "oracle://x", "sqlite:///", "mysql://x/y", "postgresql://x:port/y"]
)
def test_a_url_that_names_no_database_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises((DatabaseUnreadable, DatabaseMissing)):
        open_database(load(tmp_path, url))


def test_a_server_that_does_not_answer_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnreadable, match="cannot be opened"):
        open_database(load(tmp_path, "postgresql://127.0.0.1:1/none"))


def test_many_that_create_one_database_at_once_all_succeed(
    empty_postgres: str, tmp_path: Path
) -> None:
    for url in (None, empty_postgres):
        config = load(tmp_path / "home", url)
        with ThreadPoolExecutor(6) as pool:
            opened = [pool.submit(open_database, config, create=True) for _ in range(6)]
        for database in opened:
            database.result().close()


def test_revisions_are_numbered_in_their_order() -> None:
    script = ScriptDirectory.from_config(schema.alembic_config())
    numbers = [revision.revision for revision in script.walk_revisions()][::-1]
    assert numbers == [f"{number:04d}" for number in range(1, len(numbers) + 1)]


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE books (title TEXT)"],
        ["CREATE TABLE runs (title TEXT)"],
        ["CREATE VIEW books AS SELECT 1"],
        [
            "CREATE TABLE alembic_version (version_num TEXT)",
            "INSERT INTO alembic_version VALUES ('0002')",
        ],
        ["CREATE TABLE alembic_version (version_num TEXT)", "CREATE TABLE books (title TEXT)"],
        [
            "CREATE TABLE alembic_version (version_num TEXT)",
            "CREATE TABLE books (title TEXT)",
            "INSERT INTO alembic_version VALUES ('ae1027a6acf')",
        ],
    ],
)
def test_somebody_elses_database_is_refused_and_not_changed(
    tmp_path: Path, statements: list[str]
) -> None:
    config = load(tmp_path)
    with sqlite3.connect(tmp_path / "branchtrack.db") as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()
    before = (tmp_path / "branchtrack.db").read_bytes()
    for create in (True, False):
        with pytest.raises(DatabaseForeign, match="is not branchtrack's.*Name another with --home"):
            open_database(config, create=create)
    database = Database(config.database_url)
    with pytest.raises(DatabaseForeign):
        schema.upgrade(database)
    database.close()
    assert (tmp_path / "branchtrack.db").read_bytes() == before
    assert not trust.is_trusted(config)


def test_tables_of_another_in_a_server_s_database_are_left_alone(
    empty_postgres: str, tmp_path: Path
) -> None:
    config = load(tmp_path / "home", empty_postgres)
    database = Database(config.database_url)
    with database.transaction() as connection:
        connection.execute(text("CREATE TABLE books (title TEXT)"))
    database.close()
    with pytest.raises(DatabaseForeign, match="books"):
        open_database(config, create=True)


def test_a_revision_that_never_was_is_refused(config: Config) -> None:
    stamp(config, "ae1027a6acf")
    with pytest.raises(DatabaseUnreadable, match="is of no version: 'ae1027a6acf'"):
        open_database(config, create=True)


@pytest.mark.parametrize("length", [1, 15, 16, 17, 99, 511, 513])
def test_a_short_text_file_is_no_database_either(tmp_path: Path, length: int) -> None:
    path = tmp_path / "notes.db"
    path.write_text("x" * length)
    for create in (False, True):
        with pytest.raises(DatabaseUnreadable, match="is not a database"):
            open_database(load(tmp_path / "home", f"sqlite:///{path}"), create=create)
    assert path.read_text() == "x" * length


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnreadable):
        open_database(load(tmp_path / "home", f"sqlite:///{tmp_path}"))


def test_a_home_that_cannot_be_made_is_a_clear_error() -> None:
    with pytest.raises(HomeError, match="/proc/branchtrack"):
        open_database(load("/proc/branchtrack"), create=True)


def test_a_servers_password_is_never_told(tmp_path: Path) -> None:
    url = "postgresql://me:secret@127.0.0.1:1/none"
    with pytest.raises(DatabaseUnreadable) as caught:
        open_database(load(tmp_path, url))
    assert "secret" not in str(caught.value)


def test_opening_a_database_again_keeps_the_locks_of_those_open_already(
    sqlite_config: Config, sqlite_database: Database, store: Store
) -> None:
    # Without its lock another process takes itself for the last one, and removes the journal.
    code = (
        "import sys; from branchtrack.config import load; from branchtrack.db import runs, schema\n"
        "from branchtrack.db.views import run_list\n"
        "database = schema.open_database(load(sys.argv[1]))\n"
        "with database.transaction() as connection:\n"
        "    runs.create_run(connection, sys.argv[2], actor='other')\n"
        "    print(sorted(found.run.name for found in run_list.find_runs(connection)))\n"
        "database.close()\n"
    )
    command = [sys.executable, "-c", code, str(sqlite_config.home)]
    make_tree(sqlite_database, store, "one")
    open_database(sqlite_config, create=True).close()
    subprocess.run([*command, "two"], check=True)
    make_tree(sqlite_database, store, "three")
    done = subprocess.run([*command, "four"], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "['four', 'one', 'three', 'two']"


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory_is_no_file_of_the_folder_that_the_process_is_in(url: str) -> None:
    database = Database(url)
    assert database.path is None and schema.revision(database) is None
    database.close()
