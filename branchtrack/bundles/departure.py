"""A run out of a home into a bundle: rows of one moment, then the tensors that they need.

All rows of the run travel, whichever branch is bundled, since its events speak of all of them. The
checkpoints of other branches come without their tensors, as if retention had left their recipes.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection, Table, select, text

from branchtrack.bundles import container
from branchtrack.bundles.rows import TABLES, encoded
from branchtrack.checkpoints import files
from branchtrack.checkpoints.packs import Store
from branchtrack.core.lifecycle import LAUNCH_ENDS, LIVE, segment_status
from branchtrack.core.records import Branch, Run, TensorLocation
from branchtrack.db import integrity, nodes, runs, seals, segments, tables
from branchtrack.db.engine import Database
from branchtrack.db.schema_head import HEAD
from branchtrack.db.storage import compositions, references
from branchtrack.errors import InvalidInput, RecordChanged

_DIGEST = re.compile(r'"([0-9a-f]{64})"')
#: Rows of these are found by their segment or series, or by their digest, and not by their run.
_BY_RUN = (
    "groups",
    "branches",
    "segments",
    "requests",
    "launches",
    "trials",
    "certificates",
    "refusals",
    "alerts",
    "agents",
    "exchanges",
)
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Bundled:
    """What was written: a file of ``nbytes`` with ``tensors`` of ``tensor_bytes``."""

    run: Run
    branch: Branch | None
    path: Path
    nbytes: int
    counts: dict[str, int]
    tensors: int
    tensor_bytes: int


class _Rows:
    """Lines of each table, in files that vanish by themselves."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack, self._folder = stack, folder
        self.files: dict[str, IO[bytes]] = {}
        self.counts: dict[str, int] = {}
        for name in TABLES:
            file = self._stack.enter_context(tempfile.TemporaryFile(dir=self._folder))
            self.files[name], self.counts[name] = file, 0

    def add(self, table: Table, rows: Iterable[dict[str, Any]]) -> None:
        """Write rows as they are."""
        for row in rows:
            self.files[table.name].write(encoded(table, row))
            self.counts[table.name] += 1


def write(
    database: Database,
    store: Store,
    ref: str,
    path: Path,
    *,
    weights: bool = True,
    progress: Progress = lambda done, total: None,
) -> Bundled:
    """Write the run, or the branch of ``RUN/BRANCH`` with all it grew from, as a bundle.

    Without ``weights`` no tensor is carried. ``progress`` gets the bytes of tensors done and all.

    Raises:
        NotFound: there is no such run or branch.
        InvalidInput: the file exists, or something trains the run or is queued in it.
        RecordChanged, CheckpointError: what would be bundled is not as it was written.
        StorageError: the database or the disk failed; no file is left.
    """
    if path.exists() or path.is_symlink():
        raise container.taken(path)
    if not path.parent.is_dir():
        raise InvalidInput("file", str(path), "a file in a folder that exists")
    with ExitStack() as stack, files.translated(path):
        rows = _Rows(stack, path.parent)
        with database.read() as connection:
            if connection.dialect.name != "sqlite":
                # All rows must be of one moment, despite other writers.
                connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            run, branch = _subject(connection, ref)
            check_idle(connection, run)
            for problem in integrity.of_run(connection, run.id):
                raise _changed(f"The {problem}.")
            carried = _states(connection, run, branch) if weights else set()
            locations, head = _gather(connection, run, carried, rows)
        total = sum(location.nbytes for location in locations)
        header = {
            "schema": HEAD,
            "created_at": time.time(),
            "run": {"id": run.id, "name": run.name},
            "branch": branch.name if branch else None,
            "weights": weights,
            "head": head,
            "rows": rows.counts,
            "tensors": len(locations),
            "tensor_bytes": total,
        }
        content = _read(store, locations, total, progress)
        nbytes = container.write(path, header, rows.files, content)
    return Bundled(run, branch, path, nbytes, rows.counts, len(locations), total)


def check_idle(connection: Connection, run: Run) -> None:
    """Refuse a run that a process trains, or in which one is to be started.

    Raises:
        InvalidInput: with what is to be stopped or cancelled.
    """
    names = {branch.id: branch.name for branch in runs.list_branches(connection, run.id)}
    now = time.time()
    live = {
        f"`branchtrack stop {run.name}/{names.get(segment.branch_id, '')}`"
        for segment in segments.list_of_run(connection, run.id)
        if segment.status in LIVE and segment_status(segment, now) != "lost"
    }
    launches = tables.launches
    waiting = select(launches.c.id).where(
        launches.c.run_id == run.id, launches.c.state.not_in(LAUNCH_ENDS)
    )
    queued = {f"`branchtrack cancel {row.id}`" for row in connection.execute(waiting)}
    if live or queued:
        ways = sorted(live) + sorted(queued)
        raise InvalidInput(
            "run",
            run.name,
            f"a run that nothing trains and in which nothing is queued; {', '.join(ways[:5])}",
            what=f"The run {run.name} is not at rest: {len(live)} branches are trained, "
            f"{len(queued)} launches have not ended.",
        )


def _subject(connection: Connection, ref: str) -> tuple[Run, Branch | None]:
    if "/" not in ref:
        return runs.find_run(connection, ref), None
    branch = runs.find_branch(connection, ref)
    return runs.get_run(connection, branch.run_id), branch


def _states(connection: Connection, run: Run, branch: Branch | None) -> set[str]:
    """Return the state digests of all nodes of a run, or of those from the root to a head."""
    rows = tables.nodes
    query = select(rows.c.id, rows.c.parent_id, rows.c.state_digest).where(rows.c.run_id == run.id)
    by_id = {row.id: row for row in connection.execute(query)}
    if branch is None:
        return {row.state_digest for row in by_id.values()}
    digests, current = set(), by_id.get(branch.head_id or branch.start_node_id)
    while current is not None:
        digests.add(current.state_digest)
        current = by_id.get(current.parent_id)
    return digests


def _gather(
    connection: Connection, run: Run, carried: set[str], rows: _Rows
) -> tuple[list[TensorLocation], str | None]:
    """Write all rows of a run; return the tensors to carry, and the hash of its last event."""
    rows.add(tables.runs, _proved(connection, tables.runs, run.id, "id"))
    for name in _BY_RUN:
        proved = _proved(connection, TABLES[name], run.id, "run_id")
        rows.add(TABLES[name], sorted(proved, key=lambda row: row.get("seq", 0)))
    line = sorted(_proved(connection, tables.nodes, run.id, "run_id"), key=lambda row: row["seq"])
    rows.add(tables.nodes, line)
    locations: dict[str, TensorLocation] = {}
    for digest in dict.fromkeys(row["state_digest"] for row in line):
        (checkpoint,) = _proved(connection, tables.checkpoints, digest, "digest")
        if digest not in carried:
            checkpoint |= {"thinned": references.RECIPE, "stored_bytes": 0}
        rows.add(tables.checkpoints, [checkpoint])
        for location in _locations(connection, digest, checkpoint["thinned"]):
            locations.setdefault(location.digest, location)
    _gather_texts(connection, run, rows)
    _gather_metrics(connection, run, rows)
    chain = seals.raw(connection, tables.events, run.id, "run_id")
    events = sorted(chain, key=lambda row: row["seq"])
    rows.add(tables.events, events)
    return list(locations.values()), events[-1]["hash"] if events else None


def _locations(
    connection: Connection, digest: str, thinned: str | None
) -> Iterator[TensorLocation]:
    if thinned == references.RECIPE:
        return
    need = "weights" if thinned else "all"
    yield from nodes.checkpoint(connection, digest, need=need).locations.values()


def _gather_texts(connection: Connection, run: Run, rows: _Rows) -> None:
    """Write the texts that are named: by segments, of their code, and by nodes, of their data."""
    codes = (row["code"] or "" for row in seals.raw(connection, tables.segments, run.id, "run_id"))
    named = dict.fromkeys(digest for code in codes for digest in _DIGEST.findall(code))
    named |= dict.fromkeys(compositions.digests_of_run(connection, run.id))
    for digest in named:
        rows.add(tables.texts, _proved(connection, tables.texts, digest, "digest"))


def _gather_metrics(connection: Connection, run: Run, rows: _Rows) -> None:
    for segment in segments.list_of_run(connection, run.id):
        for series in seals.raw(connection, tables.metric_series, segment.id, "segment_id"):
            rows.add(tables.metric_series, [series])
            for table in (tables.metric_points, tables.metric_blocks):
                rows.add(table, seals.raw(connection, table, series["id"], "series_id"))


def _proved(
    connection: Connection, table: Table, key: str, column: str
) -> Iterator[dict[str, Any]]:
    """Yield rows that are as they were sealed.

    Raises:
        RecordChanged: one is not.
    """
    for row in seals.raw(connection, table, key, column):
        seal = seals.stored(connection, table, seals.key_of(table, row))
        if seal != seals.of_row(table, row):
            key = seals.key_of(table, row)
            raise _changed(f"A row of {table.name} is not as it was written: {key}.")
        yield row


def _changed(what: str) -> RecordChanged:
    return RecordChanged(
        what,
        safe="Nothing was written.",
        fix="`branchtrack verify --all` lists what was changed; restore the database from a copy.",
        node="",
    )


def _read(
    store: Store, locations: list[TensorLocation], total: int, progress: Progress
) -> Iterator[tuple[str, bytearray]]:
    done = 0
    for location in locations:
        yield location.digest, store.read(location)
        done += location.nbytes
        progress(done, total)
