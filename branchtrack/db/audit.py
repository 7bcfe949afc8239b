"""The event log of each run: append-only, numbered without gaps, and hash-chained.

Every change of a run appends here in the same transaction; nothing here is ever updated.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from typing import Any, cast

from sqlalchemy import ColumnElement, Connection, Select, Table, func, literal, null, select

from branchtrack.core.nonfinite import packed
from branchtrack.core.records import CONTENTS, Event
from branchtrack.db import seals
from branchtrack.db.tables import (
    alerts,
    certificates,
    events,
    exchanges,
    launches,
    nodes,
    requests,
    runs,
)
from branchtrack.errors import DatabaseUnreadable

GENESIS = "0" * 64
#: The number and the hash of an event.
_Last = tuple[int, str]
_CHAINED = {column.name for column in events.c} - {"id", "hash"}
#: Where a connection has its transaction, and the runs that it adds to.
_OWN = "branchtrack.runs"
#: The only event on a request that is not one of its states.
ASKED_TO_CANCEL = "cancel asked"
#: A branch whose process trained nothing, and which was removed with its node.
_WITHDRAWN = "withdrawn"
#: A branch that was removed with all that belonged to it, or a run of which this log remains.
PURGED = "purged"
#: What the event of a purged branch names, and the kind of the events of each.
_REMOVED = {
    "nodes": "node",
    "requests": "request",
    "launches": "launch",
    "certificates": "certificate",
    "alerts": "alert",
    "exchanges": "exchange",
}
#: The tables that must agree with their last event, and the column that has the event's state.
_TOLD: dict[str, tuple[Table, Any]] = {
    "request": (requests, requests.c.state),
    "node": (nodes, nodes.c.kind),
    "launch": (launches, launches.c.state),
    "certificate": (certificates, null()),
    "alert": (alerts, null()),
    "exchange": (exchanges, null()),
}


def lock(connection: Connection, run_id: str) -> None:
    """Order what this transaction adds to a run in one piece, in the order of such calls.

    It comes before any row of the run is changed: of two transactions that take row and lock in
    different orders, PostgreSQL ends one.
    """
    _lock(connection, literal(run_id), run_id)


def lock_of(connection: Connection, request_id: str) -> None:
    """Do as `lock`, for the run of a request, which takes a statement even if it is locked."""
    run_id = select(requests.c.run_id).where(requests.c.id == request_id).scalar_subquery()
    _lock(connection, run_id)


def _lock(connection: Connection, run_id: ColumnElement[str], known: str = "") -> None:
    if connection.dialect.name == "sqlite":
        # It has a single writer anyway.
        return
    own = _own(connection)
    if known in own:
        return
    # Not the run's row: each event changes it, and whoever waits for a row that is changed queues
    # up again behind those that came later. These locks are granted in the order of asking.
    number = func.hashtextextended(run_id, 0)
    row = connection.execute(select(func.pg_advisory_xact_lock(number), run_id)).one()
    own.setdefault(row[1], None)


def _own(connection: Connection) -> dict[str, _Last | None]:
    """Return the runs that the present transaction has locked, with the events that it added last.

    Nobody else adds events to these: the last is the one to go on from.
    """
    transaction = connection.get_transaction()
    of, own = connection.info.get(_OWN, (None, None))
    if of is not transaction or own is None:
        own = {}
        connection.info[_OWN] = transaction, own
    return cast(dict[str, _Last | None], own)


def _last(connection: Connection, run_id: str) -> _Last:
    query = select(events.c.seq, events.c.hash).where(events.c.run_id == run_id)
    row = connection.execute(query.order_by(events.c.seq.desc()).limit(1)).first()
    return (row.seq, row.hash) if row else (0, GENESIS)


def append(
    connection: Connection,
    run_id: str,
    *,
    kind: str,
    ref: str,
    state: str,
    actor: str,
    step: int | None = None,
    payload: dict[str, Any] | None = None,
    reason: str = "",
) -> None:
    """Add an event after the run's last.

    ``kind``: run, branch, segment, node, request, launch, certificate, trouble, save (one that was
    due and missed), signal (received by the process), metric (what was logged and is no number) or
    restore (how the first update of a resume compares).
    """
    lock(connection, run_id)
    own = _own(connection)
    seq, previous = own.get(run_id) or _last(connection, run_id)
    row = {
        "run_id": run_id,
        "seq": seq + 1,
        "time": time.time(),
        "actor": actor,
        "kind": kind,
        "ref": ref,
        "state": state,
        "step": step,
        "payload": packed(payload or {}),
        "reason": reason,
    }
    link = _digest(previous, row)
    inserted = connection.execute(events.insert().values(**row, hash=link)).inserted_primary_key
    assert inserted is not None
    own[run_id] = seq + 1, link
    seals.write(connection, events, {inserted.id: _number_seal(inserted.id, link)})
    connection.execute(runs.update().where(runs.c.id == run_id).values(updated_at=row["time"]))


def since(
    connection: Connection, run_id: str | None = None, after: int = 0, limit: int = 1000
) -> list[Event]:
    """Return events with ``id > after``, oldest first, of one run or of all."""
    query = select(events).where(events.c.id > after).order_by(events.c.id).limit(limit)
    if run_id is not None:
        query = query.where(events.c.run_id == run_id)
    return [Event(**row._mapping) for row in connection.execute(query)]


def last_id(connection: Connection, run_id: str | None = None) -> int:
    """Return the cursor after the newest event."""
    query = select(events.c.id).order_by(events.c.id.desc()).limit(1)
    if run_id is not None:
        query = query.where(events.c.run_id == run_id)
    return connection.execute(query).scalar() or 0


def last_id_of(connection: Connection, run_name: str) -> int:
    """Return the cursor after the newest event of the run of that name, or 0 if there is none."""
    run_id = select(runs.c.id).where(runs.c.name == run_name).scalar_subquery()
    query = select(func.max(events.c.id)).where(events.c.run_id == run_id)
    return connection.execute(query).scalar() or 0


def last_troubles(run_ids: Select[tuple[str]]) -> Select[tuple[str, int]]:
    """Return the query for (ref, id) of each segment's last trouble event; runs are a query."""
    return (
        select(events.c.ref, func.max(events.c.id).label("id"))
        .where(events.c.run_id.in_(run_ids), events.c.kind == "trouble")
        .group_by(events.c.ref)
    )


def after(connection: Connection, run_id: str, seq: int, limit: int) -> list[Event]:
    """Return the run's first events with a ``seq`` above ``seq``, oldest first.

    Events of a run are numbered in the order they are committed: none is ever inserted before one
    that was read.
    """
    query = select(events).where(events.c.run_id == run_id, events.c.seq > seq)
    rows = connection.execute(query.order_by(events.c.seq).limit(limit))
    return [Event(**row._mapping) for row in rows]


def newest(
    connection: Connection, run_id: str, limit: int, before: int | None = None
) -> list[Event]:
    """Return the run's last events (with ``seq`` below ``before``), oldest first."""
    query = select(events).where(events.c.run_id == run_id)
    query = query if before is None else query.where(events.c.seq < before)
    rows = connection.execute(query.order_by(events.c.seq.desc()).limit(limit))
    return [Event(**row._mapping) for row in rows][::-1]


def page(
    connection: Connection,
    run_id: str,
    limit: int,
    before: int | None = None,
    *,
    kind: str = "",
    actor: str = "",
    ref: str = "",
) -> list[Event]:
    """Return the run's last matching events (``seq`` below ``before``), newest first."""
    query = select(events).where(events.c.run_id == run_id)
    query = query if before is None else query.where(events.c.seq < before)
    for column, value in ((events.c.kind, kind), (events.c.actor, actor), (events.c.ref, ref)):
        query = query.where(column == value) if value else query
    rows = connection.execute(query.order_by(events.c.seq.desc()).limit(limit))
    return [Event(**row._mapping) for row in rows]


def actors_of(connection: Connection, run_id: str) -> list[str]:
    """Return every actor in the run's log, by name."""
    query = select(events.c.actor).where(events.c.run_id == run_id).distinct()
    return sorted(connection.execute(query).scalars())


def first_broken_seq(connection: Connection, run_id: str) -> int | None:
    """Return the ``seq`` at which the run's chain is broken, or None if it is intact."""
    previous, expected = GENESIS, 1
    rows = connection.execute(
        select(events).where(events.c.run_id == run_id).order_by(events.c.seq)
    )
    try:
        for row in rows:
            fields = {name: value for name, value in row._mapping.items() if name in _CHAINED}
            fields["payload"] = packed(fields["payload"])
            if row.seq != expected or row.hash != _digest(previous, fields):
                return expected
            previous, expected = row.hash, expected + 1
    except (DatabaseUnreadable, ValueError):
        return expected
    return None


def links(connection: Connection, run_id: str) -> list[str]:
    """Return the hashes of a run's events, in their order."""
    query = select(events.c.hash).where(events.c.run_id == run_id).order_by(events.c.seq)
    return list(connection.execute(query).scalars())


def link(previous: str, values: Mapping[str, Any]) -> str:
    """Return the hash of an event after the one of hash ``previous``.

    ``values`` is the row as the database stores it, see `seals.raw`.
    """
    fields = {name: value for name, value in values.items() if name in _CHAINED}
    return _digest(previous, {**fields, "payload": json.loads(fields["payload"])})


def seal_numbers(connection: Connection, run_id: str | None = None, after: int = 0) -> None:
    """Seal the ids of events: all when a database gets seals, or a run's with a higher ``seq``."""
    query = select(events.c.id, events.c.hash)
    if run_id is not None:
        query = query.where(events.c.run_id == run_id, events.c.seq > after)
    sealed = {row.id: _number_seal(row.id, row.hash) for row in connection.execute(query)}
    seals.write(connection, events, sealed)


def misnumbered(connection: Connection) -> list[str]:
    """Return the ids of events that were renumbered, which no chain covers, or removed.

    Only the order is known of events before the first sealed one: an earlier version wrote them.
    """
    sealed = seals.all_stored(connection, events)
    first = min((int(key) for key in sealed if key.isdigit()), default=None)
    wrong, newest = [], dict[str, int]()
    query = select(events.c.id, events.c.run_id, events.c.seq, events.c.hash)
    for row in connection.execute(query.order_by(events.c.id)):
        seal = sealed.pop(str(row.id), None)
        is_older = seal is None and (first is None or row.id < first)
        is_in_order = row.seq > newest.get(row.run_id, 0)
        newest[row.run_id] = row.seq
        if not is_in_order or not (is_older or seal == _number_seal(row.id, row.hash)):
            wrong.append(str(row.id))
    return wrong + list(sealed)


def unlogged_changes(connection: Connection, run_id: str) -> list[tuple[str, str]]:
    """Return the (kind, id) of what disagrees with the log's last events, or is gone.

    A chain cannot show that its end was cut off; records beyond it can. For a run that is the time
    of its last event, of whatever kind.
    """
    log = _last_told(connection, run_id)
    pairs: list[tuple[str, str]] = []
    for kind, (table, state) in _TOLD.items():
        logged = {ref: entry for (of, ref), entry in log.items() if of == kind}
        now = seals.contents_of_run(connection, table, run_id)
        query = select(table.c.id, state).where(table.c.run_id == run_id)
        states = {row.id: row[1] for row in connection.execute(query)}
        for ref in sorted(now):
            last_state, contents = logged.pop(ref, (None, None))
            stale = states[ref] is not None and states[ref] != last_state
            if last_state is None or stale or contents not in (None, now[ref]):
                pairs.append((kind, ref))
        pairs += [(kind, ref) for ref, (last, _) in logged.items() if last != _WITHDRAWN]
    end = select(events.c.time).where(events.c.run_id == run_id).order_by(events.c.seq.desc())
    ended = select(runs.c.updated_at, end.limit(1).scalar_subquery().label("time"))
    row = connection.execute(ended.where(runs.c.id == run_id)).first()
    held = row is not None and row.time == row.updated_at
    return pairs if held else [*pairs, ("run", run_id)]


def logged_contents(connection: Connection, kind: str, ref: str) -> str | None:
    """Return the digest of a row in its last event; None from earlier versions."""
    query = select(events.c.payload).where(events.c.kind == kind, events.c.ref == ref)
    for payload in connection.execute(query.order_by(events.c.id.desc())).scalars():
        if payload.get(CONTENTS):
            return str(payload[CONTENTS])
    return None


def _last_told(
    connection: Connection, run_id: str
) -> dict[tuple[str, str], tuple[str | None, str | None]]:
    """Return the last (state, contents) in the log for each (kind, id)."""
    log: dict[tuple[str, str], tuple[str | None, str | None]] = {}
    fork_query = select(launches.c.id, launches.c.fork_node_id).where(launches.c.run_id == run_id)
    forks = {row.id: row.fork_node_id for row in connection.execute(fork_query)}
    query = select(events.c.kind, events.c.ref, events.c.state, events.c.payload)
    for row in connection.execute(query.where(events.c.run_id == run_id).order_by(events.c.seq)):
        state, contents = log.get((row.kind, row.ref), (None, None))
        if row.state != ASKED_TO_CANCEL:
            state = row.state
        log[row.kind, row.ref] = state, row.payload.get(CONTENTS) or contents
        if row.kind in ("branch", "segment") and row.state == _WITHDRAWN:
            # Earlier versions named only the launch.
            node = row.payload.get("node") or forks.get(row.payload.get("launch"), "")
            log["node", node] = _WITHDRAWN, None
        if row.kind == "branch" and row.state == PURGED:
            for name, kind in _REMOVED.items():
                log |= {(kind, ref): (_WITHDRAWN, None) for ref in row.payload.get(name, ())}
    return log


def _digest(previous: str, row: dict[str, Any]) -> str:
    text = json.dumps([previous, row], sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _number_seal(event_id: int, link: str) -> str:
    return seals.digest({"id": event_id, "hash": link})
