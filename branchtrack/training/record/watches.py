"""What a recorder checks: whether database and store are still there, and whether anything is new.

It reads no table and leaves the meaning of a database and a change to others.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from branchtrack.checkpoints.packs import Store
from branchtrack.db.engine import Database
from branchtrack.errors import StorageError
from branchtrack.training.record import intervals

logger = logging.getLogger("branchtrack")

_VERSION = "branchtrack_data_version"


class FileWatch:
    """Detects that an SQLite file was moved, deleted or replaced while it is open.

    SQLite does not: it continues to write into a file that can no longer be opened.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._place = self._look()

    def check(self) -> None:
        """Reconnect if another file is in its place.

        Raises:
            StorageError: there is no file.
        """
        identity = self._look()
        if identity is None and self._place is not None:
            raise StorageError(
                f"The database {self._database.path} is gone.",
                safe="Unwritten records are kept in memory.",
                fix="Put it back where it was: they will be written then.",
                url=self._database.shown_url,
            )
        if identity != self._place:
            if self._place is not None:
                logger.warning(
                    "branchtrack: %s was replaced by another file; recording continues there from "
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
    """Detects that the store was moved, deleted or replaced during training.

    Between two commits nothing else checks it. ``newest`` is the pack that was written last.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._was_there = store.is_present()
        self.newest: str | None = None

    def check(self) -> None:
        """Check that what was written is there.

        Raises:
            StorageError: it is not.
        """
        is_there = self._store.is_present()
        self._was_there = self._was_there or is_there
        lost = self._store.describe() if self._was_there and not is_there else None
        if is_there and self.newest is not None and not self._store.exists(self.newest):
            lost = self._store.describe(self.newest)
        if lost is None:
            return
        raise StorageError(
            f"The store {self._store.describe()} was moved, deleted or replaced: {lost} is gone.",
            safe="Training is not affected; nodes whose bytes were there cannot be resumed.",
            fix="Put it back where it was; otherwise the next checkpoint starts a new one.",
            path=lost,
        )


class ChangeWatch:
    """Detects that another connection may have changed the database, at little cost.

    SQLite counts its changes; PostgreSQL tells of what concerns this segment, and is looked at
    rarely while it does. Without it polling is most of what recording costs while there are no
    requests.

    Used by one thread, except for `wake`.
    """

    def __init__(self, database: Database, segment_id: str) -> None:
        self._database = database
        self._looked: tuple[dict[Any, Any], int] | None = None
        self._subscription = database.subscribe(segment_id)
        self._is_told, self._next_look = True, 0.0

    def wait(self, seconds: float) -> None:
        """Wait for some seconds, or until the database tells of something new."""
        if self._subscription.rest(seconds):
            self._is_told = True

    def wake(self) -> None:
        """End the present or the next `wait`."""
        self._subscription.wake()

    def close(self) -> None:
        """Be told no more."""
        self._subscription.release()

    def anything(self) -> bool:
        """Return False if others have committed nothing since the last `seen`."""
        self._looked = None
        if not self._database.is_sqlite:
            is_due = time.monotonic() >= self._next_look
            return self._is_told or is_due or not self._subscription.is_live
        try:
            connection = self._database.engine.raw_connection()
            try:
                # It counts only commits of others, and is valid for one connection only.
                number = connection.execute("PRAGMA data_version").fetchone()[0]
                self._looked = connection.info, number
                return bool(connection.info.get(_VERSION) != number)
            finally:
                connection.close()
        except (sqlite3.Error, SQLAlchemyError):
            # The next read will report the error.
            return True

    def seen(self) -> None:
        """Note that everything up to the last `anything` has been read."""
        self._is_told = False
        self._next_look = time.monotonic() + intervals.LISTENING_POLL_SECONDS
        if self._looked is not None:
            info, number = self._looked
            info[_VERSION] = number
