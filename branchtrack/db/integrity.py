"""Whether a database is as branchtrack wrote it: its pages, its tables, its rows and its chains.

Nothing here needs a row to be readable: what is damaged is one problem, and the rest is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import SQLAlchemyError

from branchtrack.db import audit, schema, seals, tails
from branchtrack.db.engine import Database
from branchtrack.db.storage import packs
from branchtrack.db.tables import (
    events,
    metadata,
    metric_blocks,
    metric_series,
    nodes,
    refusals,
)
from branchtrack.errors import BranchtrackError

#: A changed row may contain anything.
UNREADABLE = (
    BranchtrackError,
    SQLAlchemyError,
    ValueError,
    TypeError,
    LookupError,
    RecursionError,
)
_MOST_OF_SQLITE = 100
_KINDS = {"branches": "branch", "launches": "launch"}


@dataclass(frozen=True)
class Problem:
    """Something that is not as it was written; ``what`` follows kind and id: "is gone"."""

    kind: str
    id: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind} {self.id} {self.what}".replace("  ", " ")


@contextmanager
def lenient(connection: Connection) -> Iterator[None]:
    """Within the block also read damaged text; SQLite's driver would end the whole query."""
    if connection.dialect.name != "sqlite":
        yield
        return
    driver = connection.connection.dbapi_connection
    assert driver is not None
    before = driver.text_factory
    driver.text_factory = _text
    try:
        yield
    finally:
        driver.text_factory = before


def of_run(connection: Connection, run_id: str) -> list[Problem]:
    """Return the breaks in a run's log, and the nodes and requests that disagree with it."""
    with lenient(connection):
        broken = audit.first_broken_seq(connection, run_id)
        if broken is not None:
            what = f"of run {run_id}, or one before it, was changed, removed or put in"
            return [Problem("event", str(broken), what)]
        unlogged_changes = audit.unlogged_changes(connection, run_id)
    return [Problem(kind, ref, "is not as its events say") for kind, ref in unlogged_changes]


def of_node(connection: Connection, node_id: str) -> Problem | None:
    """Return what is wrong with the record of one node, apart from its checkpoint."""
    with lenient(connection):
        row = next(seals.raw(connection, nodes, node_id), None)
        if row is None or seals.stored(connection, nodes, node_id) != seals.of_row(nodes, row):
            return Problem("node", node_id, "is not as it was written")
        contents = audit.logged_contents(connection, "node", node_id)
        if contents not in (None, seals.contents_of_row(nodes, row)):
            return Problem("node", node_id, "is not as its events say")
    return None


def of_database(
    connection: Connection, progress: Callable[[int, int], None] | None = None
) -> list[Problem]:
    """Return every problem of a database but checkpoints; ``progress`` gets parts done and all."""
    problems: list[Problem] = []
    if connection.dialect.name != "sqlite" and not connection.in_transaction():
        # Rows and their seals must be of one moment, despite other writers.
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
    with lenient(connection):
        checks = _checks(connection, problems)
        for done, (what, check) in enumerate(checks):
            if progress is not None:
                progress(done, len(checks))
            try:
                problems += check()
            except UNREADABLE as error:
                # A connection that has failed is used again.
                connection.rollback()
                problems.append(Problem("database", "", f"cannot be read: {what}: {error}"))
    return list(dict.fromkeys(problems))


def _checks(
    connection: Connection, problems: list[Problem]
) -> list[tuple[str, Callable[[], Iterable[Problem]]]]:
    checks: list[tuple[str, Callable[[], Iterable[Problem]]]] = [
        ("its pages", partial(_pages, connection)),
        ("its tables", partial(_tables, connection)),
        ("the numbers of rows", partial(_row_numbers, connection)),
    ]
    checks += [
        (f"table {name}", partial(_rows, connection, name))
        for name in seals.SEALED
        if name != "refusals"
    ]
    checks += [
        ("table refusals", partial(_refusals, connection)),
        ("table tensors", partial(_tensors, connection)),
        ("the numbers of events", partial(_event_numbers, connection)),
        ("table metric_series", partial(_series, connection)),
        ("table metric_points", partial(_points, connection)),
        ("table metric_blocks", partial(_blocks, connection)),
    ]
    try:
        run_ids = connection.execute(select(events.c.run_id).distinct()).scalars().all()
    except UNREADABLE as error:
        problems.append(Problem("database", "", f"cannot be read: table events: {error}"))
        return checks
    return checks + [
        (f"the events of run {run_id}", partial(of_run, connection, run_id)) for run_id in run_ids
    ]


def _pages(connection: Connection) -> Iterator[Problem]:
    """Yield what SQLite itself finds; PostgreSQL checks its pages if configured to."""
    if connection.dialect.name != "sqlite":
        return
    for row in connection.execute(text(f"PRAGMA integrity_check({_MOST_OF_SQLITE})")):
        if row[0] != "ok":
            yield Problem("database", "", f"is damaged: {row[0]}")
    for row in connection.execute(text("PRAGMA foreign_key_check")):
        yield Problem("database", "", f"has a row of {row[0]} whose {row[2]} is gone")


def _tables(connection: Connection) -> Iterator[Problem]:
    """Yield differences of the tables from those that the migrations make."""
    if connection.dialect.name != "sqlite":
        # Imported only here; code that opens a node needs only the rest of the module.
        from alembic.autogenerate import compare_metadata
        from alembic.migration import MigrationContext

        # A table is in the metadata once its module was imported.
        from branchtrack.db.browsing.tables import saved_views

        context = MigrationContext.configure(connection, opts={"compare_type": True})
        for difference in compare_metadata(context, saved_views.metadata):
            yield Problem("database", "", f"has other tables than it should: {difference}")
        return
    fresh = Database("sqlite://")
    try:
        schema.upgrade(fresh)
        with fresh.read() as reference:
            expected = _definitions(reference)
    finally:
        fresh.close()
    for name in sorted({definition[0] for definition in _definitions(connection) ^ expected}):
        yield Problem("database", "", f"has other tables than it should: {name}")


def _definitions(connection: Connection) -> set[tuple[str, ...]]:
    """Return name and sorted parts of the statement of everything in a SQLite database."""
    query = text("SELECT name, type, tbl_name, sql FROM sqlite_master")
    return {
        # alembic copies tables with their constraints in any order.
        (row.name, row.type, row.tbl_name, *sorted(_words(row.sql).replace(" )", "").split(", ")))
        for row in connection.execute(query)
    }


def _words(statement: str | None) -> str:
    return " ".join((statement or "").split())


def _row_numbers(connection: Connection) -> Iterator[Problem]:
    """Check that nothing was removed from the log; PostgreSQL skips numbers of failed commits."""
    if connection.dialect.name != "sqlite":
        return
    sequences: dict[str, int] = dict(
        connection.execute(text("SELECT name, seq FROM sqlite_sequence")).all()
    )
    for table in metadata.sorted_tables:
        if not table.dialect_options["sqlite"]["autoincrement"]:
            continue
        row_ids = f"SELECT count(*), coalesce(max(rowid), 0) FROM {table.name}"
        count, last = connection.execute(text(row_ids)).one()
        number = sequences.pop(table.name, 0)
        if number < last:
            yield Problem("database", "", f"has the number {last} of {table.name} as not given")
        elif table is events and number != count:
            yield Problem("database", "", f"lacks {number - count} events that it had")
    for name in sequences:
        yield Problem("database", "", f"numbers the rows of an unknown table {name}")


def _rows(connection: Connection, name: str) -> Iterator[Problem]:
    for key, what in seals.broken(connection, seals.SEALED[name]):
        yield Problem(_KINDS.get(name, name.removesuffix("s")), key, what)


def _refusals(connection: Connection) -> Iterator[Problem]:
    """Do as `_rows`; earlier versions sealed no counter, this one seals all with the first."""
    if seals.all_stored(connection, refusals):
        yield from _rows(connection, refusals.name)


def _tensors(connection: Connection) -> Iterator[Problem]:
    for digest, what in packs.broken_tensors(connection):
        yield Problem("tensor", digest, what)


def _event_numbers(connection: Connection) -> Iterator[Problem]:
    for event_id in audit.misnumbered(connection):
        yield Problem("event", event_id, "does not have the number that it was given")


def _series(connection: Connection) -> Iterator[Problem]:
    for key, what in tails.broken(connection):
        yield Problem("series", f"{key} of a metric", what)


def _points(connection: Connection) -> Iterator[Problem]:
    for key, what in seals.broken_points(connection):
        yield Problem("point", f"{key} of a metric", what)


def _blocks(connection: Connection) -> Iterator[Problem]:
    """Check that blocks are whole, and that each series has all of its own."""
    for key, what in seals.broken_blocks(connection):
        yield Problem("block", f"{key} of a metric", what)
    stored = func.coalesce(func.sum(metric_blocks.c.count), 0)
    query = (
        select(metric_series.c.id, metric_series.c.sealed, stored.label("stored"))
        .outerjoin(metric_blocks, metric_blocks.c.series_id == metric_series.c.id)
        .group_by(metric_series.c.id, metric_series.c.sealed)
        .having(metric_series.c.sealed != stored)
    )
    for row in connection.execute(query):
        yield Problem("series", str(row.id), f"has {row.stored} of {row.sealed} points in blocks")


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")
