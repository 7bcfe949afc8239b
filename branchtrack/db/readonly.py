"""SQLite files that can only be read: a colleague's home, a read-only disk.

Such a database in WAL mode wants files beside it even to be read. What a live writer (perhaps on
another machine) has not yet brought into the main file lies in the ``-wal``, so that is read too.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote

_TRIES = 5

Stamp = list[tuple[int, int] | None]


def is_read_only(path: Path) -> bool:
    """Whether a database is there that this process may not write, or not write beside."""
    if not path.is_file():
        return False
    return not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK | os.X_OK))


class Reader:
    """Connections to read one database with, each of the moment at which it is made.

    Where nothing waits in a ``-wal``, nobody is writing and the file is read as it is. Else SQLite
    reads both; where it cannot (the ``-shm`` is missing, too), a copy of both is read.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._wal = path, path.with_name(f"{path.name}-wal")
        self._lock = threading.Lock()
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self._stamp: Stamp = []

    def connect(self) -> sqlite3.Connection:
        """A new connection.

        Raises:
            sqlite3.Error: it cannot be read, or was written all the time while it was copied.
        """
        waiting = _stamp(self._wal)
        if waiting is None or not waiting[0]:
            return _open(self._path, "mode=ro&immutable=1")
        try:
            return _open(self._path, "mode=ro")
        except sqlite3.OperationalError:
            return _open(self._copied(), "mode=rw")

    def close(self) -> None:
        """Remove what was copied."""
        with self._lock:
            if self._copy is not None:
                self._copy.cleanup()
            self._copy, self._stamp = None, []

    def _copied(self) -> Path:
        """A copy of the database as it is now, made anew where it has changed."""
        with self._lock:
            for _ in range(_TRIES):
                before = [_stamp(self._path), _stamp(self._wal)]
                if self._copy is not None and before == self._stamp:
                    break
                folder: Any = tempfile.TemporaryDirectory(prefix="branchtrack-")
                for path in (self._path, self._wal):
                    if path.exists():
                        shutil.copyfile(path, Path(folder.name) / path.name)
                if [_stamp(self._path), _stamp(self._wal)] == before:
                    # Connections that read an older copy keep its files open.
                    self._copy, self._stamp = folder, before
                    break
                folder.cleanup()
            else:
                raise sqlite3.OperationalError("it is written all the time; a copy cannot be had")
            return Path(self._copy.name) / self._path.name


def _open(path: Path, how: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?{how}", uri=True, check_same_thread=False, isolation_level=None
    )
    try:
        connection.execute("PRAGMA query_only=ON")
        # Only a query opens the files.
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_size, status.st_mtime_ns
