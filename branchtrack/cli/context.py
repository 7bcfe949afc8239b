"""The context of every command: where things are, and the options that many commands share.

It opens the database and the store for a command, and closes them after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from branchtrack.config import Config

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from branchtrack.checkpoints.packs import Store
    from branchtrack.db.engine import Database

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class CommandLine:
    """The configuration of this call."""

    config: Config

    @contextmanager
    def database(self, *, create: bool = False, shared: bool = False) -> Iterator[Database]:
        """Return the database, its schema checked.

        Raises:
            SchemaError, HomeError: see `branchtrack.db.schema.open_database`.
        """
        from branchtrack.db.schema import open_database

        database = open_database(self.config, create=create, shared=shared)
        try:
            yield database
        finally:
            database.close()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection for reading."""
        with self.database() as database, database.read() as connection:
            yield connection

    @property
    def read_only(self) -> bool:
        """Return whether the database is a file that this process may not write."""
        from branchtrack.db.engine import Database

        database = Database(self.config.database_url)
        try:
            return database.read_only
        finally:
            database.close()

    @property
    def store(self) -> Store:
        """Return the checkpoint store of the home."""
        from branchtrack.checkpoints.location import open_store

        return open_store(self.config.store)


pass_command_line = click.make_pass_decorator(CommandLine)


def json_option(command: _Command) -> _Command:
    """Add ``--json``, passed to the command as ``as_json``."""
    option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
    return option(command)
