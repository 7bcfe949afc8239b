"""The connection to the database: pragmas, the one ``transaction()``, and errors in our words.

On SQLite: WAL, synchronous FULL, a busy timeout, and writers that take the lock when they begin,
so that no reader ever blocks the writer and no transaction fails half way because of the lock.
"""

from __future__ import annotations

import json
import math
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Connection, Engine, Table, create_engine, event, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DataError,
    DisconnectionError,
    NoSuchModuleError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry, NullPool, QueuePool

from branchtrack.core.nonfinite import packed, unpacked
from branchtrack.db import readonly, seals
from branchtrack.db.notices.listener import Listener, Subscription
from branchtrack.errors import DatabaseUnreadable, InvalidInput, ReadOnlyHome, StorageError

#: Seconds a SQLite writer waits for another to finish its transaction.
BUSY_TIMEOUT = 30.0
#: Seconds between two looks whether the other has finished.
_LOOK_SECONDS = 0.002
#: Connections of one process at once, and those of them that are kept while nothing uses them.
_MOST_CONNECTIONS, _KEPT_CONNECTIONS = 50, 5
#: Seconds after which a connection to a server is tried before it is used again.
_REST_SECONDS = 1.0
#: Where a connection has the time of its last use.
_USED = "branchtrack.used"
_NAMES = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"


class Database:
    """One engine. Threads may share it; a forked process must make its own.

    ``read_only``: it is a SQLite file that this process may not write. ``path`` is that of the
    file, and None without one. ``connections`` to a server are open at once at most, and a third of
    them is kept, up to five; one more listens once somebody has subscribed.
    """

    def __init__(self, url: str, *, connections: int = _MOST_CONNECTIONS) -> None:
        self.url = url
        self._turn = threading.Lock()
        try:
            parsed = make_url(url)
            self.is_sqlite = parsed.get_backend_name() == "sqlite"
            is_file = self.is_sqlite and parsed.database not in (None, "", ":memory:")
            self.path = Path(parsed.database or "") if is_file else None
            self.shown_url = parsed.render_as_string(hide_password=True)
            self.read_only = self.path is not None and readonly.is_read_only(self.path)
            self._reader = readonly.Reader(self.path) if self.path and self.read_only else None
            if self._reader is not None:
                self.engine = _create_reader(self._reader)
            else:
                self.engine = _create_engine(url, self.is_sqlite, connections)
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError, ValueError) as error:
            raise DatabaseUnreadable(
                f"The database URL cannot be used: {error}.",
                fix="Give sqlite:///PATH or postgresql://USER@HOST/NAME "
                "(PostgreSQL needs `pip install branchtrack[postgres]`).",
                url="",
            ) from error
        is_postgres = self.engine.dialect.name == "postgresql"
        self._listener = Listener(self.engine) if is_postgres else None
        # There, statements of a transaction see different moments anyway: it would only cost time.
        self._readers = (
            self.engine.execution_options(isolation_level="AUTOCOMMIT")
            if is_postgres
            else self.engine
        )

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Yield a connection whose work is committed whole, or not at all.

        Raises:
            StorageError: the database failed; nothing of the transaction was kept.
            ReadOnlyHome: it can only be read.
        """
        self.check_writable()
        with self._translated(), self._in_turn(), self.engine.connect() as connection:
            connection = connection.execution_options(branchtrack_writes=True)
            with connection.begin(), seals.together(connection):
                yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection for reading. On SQLite it sees one moment, and blocks no writer."""
        with self._translated(), self._readers.connect() as connection:
            yield connection

    def subscribe(self, key: str) -> Subscription:
        """Return a subscription to notices about a segment or request; SQLite sends none.

        Release it in the end.
        """
        if self._listener is None:
            return Subscription(key, None)
        return self._listener.subscribe(key)

    def check_writable(self) -> None:
        """Refuse a write before anything is done for it.

        Raises:
            ReadOnlyHome: it can only be read.
        """
        if self.read_only:
            raise ReadOnlyHome(self.shown_url)

    def close(self) -> None:
        """Release every connection."""
        if self._listener is not None:
            self._listener.close()
        self.engine.dispose()
        if self._reader is not None:
            self._reader.close()

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        """Let one writer of a process in at a time if the database allows only one.

        SQLite takes writers in no order: of many threads some would wait for longer than the busy
        timeout, and other processes with them.
        """
        if not self.is_sqlite:
            yield
            return
        if not self._turn.acquire(timeout=BUSY_TIMEOUT):
            raise _kept_waiting(self.shown_url)
        try:
            yield
        finally:
            self._turn.release()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (UnicodeEncodeError, OverflowError, DataError) as error:
            raise _not_storable() from error
        except (DatabaseError, sqlite3.DatabaseError) as error:
            raise _in_our_words(error, self.shown_url) from error
        except PoolTimeout as error:
            raise _kept_waiting(self.shown_url) from error
        except UnicodeDecodeError as error:
            # SQLite's driver raises this for a message about damaged text.
            raise _damaged(self.shown_url, str(error)) from error


def upsert(connection: Connection, table: Table) -> Any:
    """Return the dialect's INSERT with ``on_conflict_do_update`` and ``on_conflict_do_nothing``."""
    # Each dialect takes a while to load, and a reader needs neither.
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table)


#: `json.loads` would make one for each text.
_DECODER = json.JSONDecoder(object_hook=unpacked)


def _to_json(value: Any) -> str:
    return json.dumps(packed(value), allow_nan=False, separators=(",", ":"))


def _from_json(text: str | bytes) -> Any:
    if isinstance(text, str) and text in ("[]", "{}", "null"):
        # Most of what is stored, many thousands of times in a large tree.
        return {"[": [], "{": {}, "n": None}[text[0]]
    try:
        return _DECODER.decode(text if isinstance(text, str) else text.decode())
    except ValueError as error:
        raise DatabaseUnreadable(
            f"A record of the database is damaged: {error}.",
            safe="It was not changed.",
            fix="`branchtrack verify --all` says which; restore the database from a copy.",
            url="",
        ) from error


def _create_engine(url: str, is_sqlite: bool, connections: int) -> Engine:
    if not is_sqlite:
        kept = min(_KEPT_CONNECTIONS, max(connections // 3, 1))
        engine = create_engine(
            url,
            json_serializer=_to_json,
            json_deserializer=_from_json,
            # The connection used last knows most statements already.
            pool_use_lifo=True,
            pool_size=kept,
            max_overflow=connections - kept,
        )
        event.listen(engine, "checkin", _note_use)
        event.listen(engine, "checkout", partial(_check_rested, engine))
        return engine
    arguments = {"check_same_thread": False, "timeout": BUSY_TIMEOUT, "isolation_level": None}
    engine = create_engine(
        url,
        json_serializer=_to_json,
        json_deserializer=_from_json,
        connect_args=arguments,
        poolclass=QueuePool,
        max_overflow=_MOST_CONNECTIONS - _KEPT_CONNECTIONS,
    )
    event.listen(engine, "connect", _set_pragmas)
    event.listen(engine, "begin", _begin)
    return engine


def _note_use(_connection: object, record: ConnectionPoolEntry) -> None:
    record.info[_USED] = time.monotonic()


def _check_rested(
    engine: Engine, connection: Any, record: ConnectionPoolEntry, _proxy: object
) -> None:
    """Have a connection replaced that is lost, if it was not used for a while.

    Asking before each use (``pool_pre_ping``) would be a sixth of what writing points costs.
    """
    if time.monotonic() - record.info.get(_USED, math.inf) < _REST_SECONDS:
        return
    try:
        engine.dialect.do_ping(connection)
    except engine.dialect.loaded_dbapi.Error as error:
        raise DisconnectionError from error


def _create_reader(reader: readonly.Reader) -> Engine:
    # A connection for each read, so that each sees the present state of the file.
    engine = create_engine(
        "sqlite://",
        creator=reader.connect,
        poolclass=NullPool,
        json_serializer=_to_json,
        json_deserializer=_from_json,
    )
    event.listen(engine, "begin", _begin)
    return engine


def _set_pragmas(connection: sqlite3.Connection, _record: object) -> None:
    names = {row[0] for row in connection.execute(_NAMES)}
    # The mode is written into the file: a database of another program must keep its own.
    if not names or "checkpoints" in names:
        connection.execute("PRAGMA journal_mode=WAL")
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    # The driver would begin late and deferred; see sqlalchemy's notes on pysqlite transactions.
    if connection.get_execution_options().get("branchtrack_writes"):
        _begin_writing(cast(sqlite3.Connection, connection.connection.driver_connection))
    else:
        connection.exec_driver_sql("BEGIN")


def _begin_writing(connection: sqlite3.Connection) -> None:
    """Begin a transaction that writes as soon as no other process has one.

    SQLite itself would look again after up to 100 ms: between the transactions of a process with
    many writers it would hardly ever find the few moments in which none is open.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT
    connection.execute("PRAGMA busy_timeout=0")
    try:
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not is_busy or time.monotonic() > deadline:
                    raise
            time.sleep(_LOOK_SECONDS)
    finally:
        connection.execute(f"PRAGMA busy_timeout={1000 * BUSY_TIMEOUT:.0f}")


def _kept_waiting(url: str) -> StorageError:
    return StorageError(
        f"The database was busy for {BUSY_TIMEOUT:g} seconds.",
        safe="The last change was not made.",
        fix="Try again; other threads or processes are writing much.",
        url=url,
    )


def _damaged(url: str, why: str) -> DatabaseUnreadable:
    return DatabaseUnreadable(
        f"The database {url} is damaged: {why}.",
        safe="It was not changed.",
        fix="Restore it from a copy; the checkpoints in the store are untouched.",
        url=url,
    )


def _not_storable() -> InvalidInput:
    return InvalidInput(
        "value",
        "",
        "text without NUL and halves of surrogate pairs, whole numbers of 64 bits",
        what="A value was given that no database can hold.",
    )


def _in_our_words(
    error: DatabaseError | sqlite3.DatabaseError, url: str
) -> StorageError | DatabaseUnreadable:
    text = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
    if "file is not a database" in text:
        return DatabaseUnreadable(
            f"{url} is not a database.",
            safe="It was not changed.",
            fix="Name another with --home or BRANCHTRACK_DATABASE_URL.",
            url=url,
        )
    if "malformed" in text:
        return _damaged(url, text)
    fix = "Try again; if it persists look at the disk's free space and the file's permissions."
    if "locked" in text:
        fix = "Another process is holding the database; try again when it has finished."
    return StorageError(
        f"The database failed: {text}.", safe="The last change was not made.", fix=fix, url=url
    )
