"""Opening a database: created and upgraded only by alembic, otherwise refused with the way out.

alembic is imported only to change a schema; a reader compares one string.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, inspect, text

from branchtrack import permissions, trust
from branchtrack.config import Config
from branchtrack.core.lifecycle import LOST_AFTER
from branchtrack.db.engine import Database
from branchtrack.db.schema_head import HEAD as HEAD
from branchtrack.errors import (
    DatabaseAhead,
    DatabaseBehind,
    DatabaseForeign,
    DatabaseInUse,
    DatabaseMissing,
    DatabaseUnreadable,
    StorageError,
)
from branchtrack.paths import asset_dir

#: Bytes of the smallest SQLite database: one page.
_SMALLEST = 512
_OF_A_COPY = (
    "It can only be read here: copy its folder to a place that can be written, then run "
    "`branchtrack --home COPY db upgrade`."
)
_TABLE = "alembic_version"
_VERSION = text(f"SELECT version_num FROM {_TABLE}")
_REVISION = re.compile(r"\d{4}")
#: Tables that every version has had.
_OURS = frozenset(("runs", "segments", "nodes", "checkpoints"))
#: Columns that every version has had.
_WRITING = text(
    "SELECT DISTINCT runs.name, branches.name FROM segments JOIN runs ON runs.id = segments.run_id "
    "JOIN branches ON branches.id = segments.branch_id "
    "WHERE segments.ended_at IS NULL AND segments.heartbeat_at > :since ORDER BY 1, 2"
)
_LOCK_KEY = 0x6272_616E


def open_database(config: Config, *, create: bool = False, shared: bool = False) -> Database:
    """Return the database of ``config``, checked to have this version's tables.

    With ``create`` a missing one is created, its home for a group if it is ``shared``.

    Raises:
        DatabaseMissing: there is none, and ``create`` is false.
        DatabaseBehind, DatabaseAhead: it has an older or a newer schema.
        DatabaseUnreadable: it is not a database, or does not answer.
        DatabaseForeign: it is another program's.
    """
    database = Database(config.database_url)
    try:
        prepare(database, config, create=create, shared=shared)
    except BaseException:
        database.close()
        raise
    return database


def prepare(database: Database, config: Config, *, create: bool, shared: bool = False) -> None:
    """Make sure that ``database``, which is that of ``config``, has this version's tables.

    Raises:
        HomeError, StorageError: they cannot be created. SchemaError: as `open_database`.
    """
    is_new_home = create and config.make_home(shared=shared)
    version = revision(database)
    if version is None and create:
        if database.path is not None and config.database_file is not None:
            # SQLite gives the files that it creates beside it the same mode.
            permissions.make_empty(database.path, config.home)
        upgrade(database)
        # All that it will ever hold is this user's, or from others whom the user admits.
        trust.mark(config)
        return
    if is_new_home and not database.is_sqlite:
        # A server's database does not arrive as a file with others: its URL is this user's choice.
        trust.mark(config)
    _check(version, database.shown_url, read_only=database.read_only)


def revision(database: Database) -> str | None:
    """Return the revision in force, or None if there are no tables.

    Raises:
        DatabaseUnreadable, DatabaseForeign: as `open_database`.
    """
    path = database.path
    if path is not None and not _has_content(path):
        return None
    try:
        with database.read() as connection:
            names = _names(connection)
            version = connection.execute(_VERSION).scalar() if _TABLE in names else None
    except StorageError as error:
        raise DatabaseUnreadable(
            f"The database {database.shown_url} cannot be opened: {error.what}",
            fix="Start it, or name another with --home or BRANCHTRACK_DATABASE_URL.",
            url=database.shown_url,
        ) from error
    _check_ours(names, version, database.shown_url)
    return str(version) if version is not None else None


def _names(connection: Connection) -> set[str]:
    """Return the existing tables; for an SQLite file also the views, which are never ours."""
    look = inspect(connection)
    views = look.get_view_names() if connection.dialect.name == "sqlite" else []
    return {*look.get_table_names(), *views}


def _check_ours(names: set[str], version: object, url: str) -> None:
    """Refuse a database that is another program's, or of a version that never existed.

    Raises:
        DatabaseForeign, DatabaseUnreadable: it was not changed.
    """
    others = sorted(names - {_TABLE})
    if _OURS <= names:
        if version is not None and _REVISION.fullmatch(str(version)):
            return
        says = (
            "does not say of which version" if version is None else f"is of no version: {version!r}"
        )
        raise DatabaseUnreadable(
            f"The database {url} has tables of branchtrack but {says}.",
            safe="It was not changed.",
            fix=f"Restore its table {_TABLE} from a copy, or name another database.",
            url=url,
        )
    if others or version is not None:
        some = ", ".join(others[:5]) or f"{_TABLE} at {version!r}"
        raise DatabaseForeign(
            f"The database {url} is not branchtrack's: it has {some}"
            + (f" and {len(others) - 5} more." if len(others) > 5 else "."),
            safe="It was not changed.",
            fix="Name another with --home or BRANCHTRACK_DATABASE_URL, one that is not there yet.",
            url=url,
            tables=tuple(others),
        )


def upgrade(database: Database, target: str = "head") -> tuple[str | None, str]:
    """Bring the schema to ``target``; return the revisions before and after.

    Raises:
        DatabaseAhead: it was written by a newer version. DatabaseForeign: it is not ours.
    """
    from alembic import command

    before = revision(database)
    if before is not None and before > HEAD:
        _check(before, database.shown_url)
    with database.transaction() as connection:
        if not database.is_sqlite:
            # Two processes that find an empty database must not both create it.
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
        command.upgrade(alembic_config(connection), target)
    return before, revision(database) or ""


def check_unused(database: Database) -> None:
    """Refuse a database, of any version, that trainings are writing.

    Raises:
        DatabaseInUse: some are; they would continue with the version that they have loaded.
    """
    with database.read() as connection:
        since = {"since": time.time() - LOST_AFTER}
        names = [f"{run}/{branch}" for run, branch in connection.execute(_WRITING, since)]
    if names:
        raise DatabaseInUse(
            f"{', '.join(names[:5])}{' and others' if len(names) > 5 else ''}: still training, and "
            f"writing {database.shown_url}.",
            safe="It was not changed.",
            fix="Stop what is using it, then run `branchtrack db upgrade` again.",
            url=database.shown_url,
            branches=names,
        )


def alembic_config(connection: Any = None) -> Any:
    """Return alembic's configuration for the shipped migrations, bound to an open connection."""
    from alembic.config import Config as AlembicConfig

    settings = AlembicConfig()
    settings.set_main_option("script_location", str(asset_dir("migrations")).replace("%", "%%"))
    settings.set_main_option("path_separator", "os")
    settings.attributes["connection"] = connection
    return settings


def _check(version: str | None, url: str, *, read_only: bool = False) -> None:
    if version is None:
        raise DatabaseMissing(
            f"There is no branchtrack database at {url} yet.",
            fix="Start a training with branchtrack, run `branchtrack demo`, or `branchtrack init`; "
            "or point --home or BRANCHTRACK_DATABASE_URL at an existing one.",
            url=url,
        )
    facts = {"url": url, "found": version, "expected": HEAD}
    if version < HEAD:
        raise DatabaseBehind(
            f"The database {url} has schema {version}; this version works with {HEAD}.",
            safe="It was not changed.",
            fix=_OF_A_COPY
            if read_only
            else "Stop what is using it, then run `branchtrack db upgrade`.",
            **facts,
        )
    if version > HEAD:
        raise DatabaseAhead(
            f"The database {url} has schema {version}, newer than the {HEAD} this version knows.",
            safe="It was not changed.",
            fix="Upgrade branchtrack, or point at another database.",
            **facts,
        )


def _has_content(path: Path) -> bool:
    # Checked by the folder alone: to open and close the file here would release the locks that this
    # process's own connections hold on it (https://www.sqlite.org/howtocorrupt.html, 2.2).
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return False
    except OSError as error:
        raise DatabaseUnreadable(
            f"{path} cannot be read: {error.strerror}.",
            fix="Correct its permissions, or name another with --home.",
            url=str(path),
        ) from error
    if 0 < size < _SMALLEST:
        # SQLite itself would treat it as an empty database, and overwrite it.
        raise DatabaseUnreadable(
            f"{path} is not a database.",
            safe="It was not changed.",
            fix="Name another with --home or BRANCHTRACK_DATABASE_URL.",
            url=str(path),
        )
    return size > 0
