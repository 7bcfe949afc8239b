"""SQLite files that can only be read: a colleague's home, a read-only disk.

Such a database in WAL mode needs files beside it even for reading. What a live writer (possibly on
another machine) has not yet moved into the main file is in the ``-wal``, so that is read too.
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
    """Return whether there is a database that this process cannot write, or not write beside."""
    if not path.is_file():
        return False
    return not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK | os.X_OK))


class Reader:
    """Connections for reading one database, each at the moment at which it is created.

    If nothing waits in a ``-wal``, there is no writer and the file is read as it is. Otherwise
    SQLite reads both; if it cannot (the ``-shm`` is missing, too), a copy of both is read.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._wal = path, path.with_name(f"{path.name}-wal")
        self._lock = threading.Lock()
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self._stamp: Stamp = []

    def connect(self) -> sqlite3.Connection:
        """Return a new connection.

        Raises:
            sqlite3.Error: it cannot be read, or was written continuously while it was copied.
        """
        waiting = _stamp(self._wal)
        if waiting is None or not waiting[0]:
            return _open(self._path, "mode=ro&immutable=1")
        try:
            return _open(self._path, "mode=ro")
        except sqlite3.OperationalError:
            return _open(self._copied(), "mode=rw")

    def close(self) -> None:
        """Remove the copies."""
        with self._lock:
            if self._copy is not None:
                self._copy.cleanup()
            self._copy, self._stamp = None, []

    def _copied(self) -> Path:
        """Return a copy of the present database, made again if that has changed."""
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
                raise sqlite3.OperationalError("it is written continuously; it cannot be copied")
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
