"""What a recorder looks at before it uses a database: is it still there, and is anything new?

It reads no table. What a database and a change mean it leaves to others.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from branchtrack.db.engine import Database
from branchtrack.errors import StorageError

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
        place = self._look()
        if place is None and self._place is not None:
            raise StorageError(
                f"The database {self._database.path} is gone.",
                safe="What is to be recorded is kept in memory.",
                fix="Put it back where it was: it will be written then.",
                url=self._database.shown_url,
            )
        if place != self._place:
            self._database.close()
            self._place = place

    def _look(self) -> tuple[int, int] | None:
        if self._database.path is None:
            return None
        try:
            found = self._database.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino


class StoreWatch:
    """Notices that the packs were moved or deleted: else the next resume would be the first to."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._was_there = folder, folder.is_dir()
        #: A pack that has been written.
        self.pack: Path | None = None

    def check(self) -> None:
        """Look whether folder and pack are there.

        Raises:
            StorageError: they were, and are not.
        """
        if self._folder.is_dir():
            self._was_there = True
            if self.pack is None or self.pack.exists():
                return
        elif not self._was_there:
            return
        raise StorageError(
            f"The checkpoints in {self._folder} are gone, or some of them.",
            safe="What trains is untouched; the next node writes all that it needs once more.",
            fix="Put the folder back where it was: earlier nodes cannot be resumed without it.",
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
