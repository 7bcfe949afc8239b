"""What a recorder looks at: are the database and the store still there, and is anything new?

It reads no table. What a database and a change mean it leaves to others.
"""

from __future__ import annotations

import logging
import sqlite3
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from branchtrack.checkpoints.packs import Store
from branchtrack.db.engine import Database
from branchtrack.errors import StorageError

logger = logging.getLogger("branchtrack")

_VERSION = "branchtrack_data_version"


class FileWatch:
    """Notices that an SQLite file was moved, deleted or replaced while it is open.

    SQLite does not: it goes on writing into a file that nobody can open any more.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._place = self._look()

    def check(self) -> None:
        """Connect anew where another file lies in its place.

        Raises:
            StorageError: there is no file.
        """
        identity = self._look()
        if identity is None and self._place is not None:
            raise StorageError(
                f"The database {self._database.path} is gone.",
                safe="What is to be recorded is kept in memory.",
                fix="Put it back where it was: it will be written then.",
                url=self._database.shown_url,
            )
        if identity != self._place:
            if self._place is not None:
                logger.warning(
                    "branchtrack: another file lies in the place of %s; it is recorded there from "
                    "now on.",
                    self._database.path,
                )
            self._database.close()
            self._place = identity

    def _look(self) -> tuple[int, int] | None:
        if self._database.path is None:
            return None
        try:
            status = self._database.path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino


class StoreWatch:
    """Notices that the store was moved, deleted or replaced while training goes on.

    Between two commits nothing else looks at it. ``newest`` is the pack that was written last.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._was_there = store.folder.is_dir()
        self.newest: str | None = None

    def check(self) -> None:
        """Look whether what was written is there.

        Raises:
            StorageError: it is not.
        """
        is_there = self._store.folder.is_dir()
        self._was_there = self._was_there or is_there
        lost = self._store.folder if self._was_there and not is_there else None
        if is_there and self.newest is not None and not self._store.path(self.newest).is_file():
            lost = self._store.path(self.newest)
        if lost is None:
            return
        raise StorageError(
            f"The store {self._store.folder} was moved, deleted or replaced: {lost} is gone.",
            safe="Training is not affected; nodes whose bytes lay there cannot be resumed.",
            fix="Put it back where it was; else the next checkpoint begins it anew.",
            path=str(lost),
        )


class ChangeWatch:
    """Tells whether another connection may have changed the database; for SQLite, at little cost.

    Without it polling is most of what recording costs while nobody asks anything.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._looked: tuple[dict[Any, Any], int] | None = None

    def anything(self) -> bool:
        """False where others have committed nothing since what was there was `seen`."""
        self._looked = None
        if not self._database.is_sqlite:
            return True
        try:
            connection = self._database.engine.raw_connection()
            try:
                # It counts others' commits only, and means something to one connection alone.
                number = connection.execute("PRAGMA data_version").fetchone()[0]
                self._looked = connection.info, number
                return bool(connection.info.get(_VERSION) != number)
            finally:
                connection.close()
        except (sqlite3.Error, SQLAlchemyError):
            # Whoever reads next will say what it is.
            return True

    def seen(self) -> None:
        """Note that all there was when `anything` was asked has been read."""
        if self._looked is not None:
            info, number = self._looked
            info[_VERSION] = number
