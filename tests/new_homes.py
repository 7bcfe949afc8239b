"""New homes for tests. Their database is a copy: to create one costs as much as a small test."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from branchtrack import permissions, trust
from branchtrack.config import Config, load
from branchtrack.db.engine import Database
from branchtrack.db.schema import open_database


def new_database(config: Config) -> Database:
    """Create a home as `open_database` does with ``create``, and open its database."""
    file = config.database_file
    if file is None or file.exists():
        return open_database(config, create=True)
    config.make_home()
    permissions.make_empty(file, config.home)
    file.write_bytes(_template())
    trust.mark(config)
    return open_database(config)


def copy_database(source: Config, target: Config) -> None:
    """Give the SQLite database of a new home all rows of another one, even while it is open."""
    assert source.database_file is not None and target.database_file is not None
    with (
        closing(sqlite3.connect(source.database_file)) as rows,
        closing(sqlite3.connect(target.database_file)) as copy,
    ):
        rows.backup(copy)
    # The number by which a trusted database is known was copied, too.
    trust.mark(target)


@cache
def _template() -> bytes:
    """The bytes of an SQLite database with this version's tables, before anybody has trusted it."""
    with TemporaryDirectory(prefix="branchtrack-template-") as folder:
        config = load(Path(folder) / "home")
        open_database(config, create=True).close()
        file = config.database_file
        assert file is not None
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA user_version = 0")
        trust.forget(config)
        return file.read_bytes()
