"""The event log of each run: append-only, numbered without gaps, and hash-chained.

Whoever changes a run appends here in the same transaction; nothing here is ever updated.
"""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

from sqlalchemy import Connection, Select, Table, func, null, select

from branchtrack.core.nonfinite import packed
from branchtrack.core.records import CONTENTS, Event
from branchtrack.db import seals
from branchtrack.db.tables import certificates, events, launches, nodes, requests, runs
from branchtrack.errors import DatabaseUnreadable

GENESIS = "0" * 64
_CHAINED = {column.name for column in events.c} - {"id", "hash"}
#: The one event on a request that is no state of it.
ASKED_TO_CANCEL = "cancel asked"
#: A branch whose process trained nothing, and was taken away with its node.
_WITHDRAWN = "withdrawn"
#: What has to be as its last event says, and the column that has the event's state.
_TOLD: dict[str, tuple[Table, Any]] = {
    "request": (requests, requests.c.state),
    "node": (nodes, nodes.c.kind),
    "launch": (launches, launches.c.state),
    "certificate": (certificates, null()),
}


def lock(connection: Connection, run_id: str) -> None:
    """Have what this transaction adds to a run come in one piece, in the order of such calls."""
    # The run's row is the lock that keeps two writers from taking one number (PostgreSQL; SQLite
    # has a single writer anyway). It lets those be who only refer to the run, as every inserted row
    # of it does: two that both do so first would wait for each other.
    connection.execute(select(runs.c.id).where(runs.c.id == run_id).with_for_update(key_share=True))


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
    """Add one event behind the run's last.

    ``kind``: run, branch, segment, node, request, launch, certificate, trouble, save (one that was
    due and missed), signal (received by the process), metric (what was logged and is no number) or
    restore (how the first update of a resume compares).
    """
    lock(connection, run_id)
    last = connection.execute(
        select(events.c.seq, events.c.hash)
        .where(events.c.run_id == run_id)
        .order_by(events.c.seq.desc())
        .limit(1)
    ).first()
    seq, previous = (last.seq + 1, last.hash) if last else (1, GENESIS)
    row = {
        "run_id": run_id,
        "seq": seq,
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
    made = connection.execute(events.insert().values(**row, hash=link)).inserted_primary_key
    assert made is not None
    seals.write(connection, events, {made.id: _number_seal(made.id, link)})
    connection.execute(runs.update().where(runs.c.id == run_id).values(updated_at=row["time"]))


def since(
    connection: Connection, run_id: str | None = None, after: int = 0, limit: int = 1000
) -> list[Event]:
    """Events with ``id > after``, oldest first, of one run or of all."""
    query = select(events).where(events.c.id > after).order_by(events.c.id).limit(limit)
    if run_id is not None:
        query = query.where(events.c.run_id == run_id)
    return [Event(**row._mapping) for row in connection.execute(query)]


def last_id(connection: Connection, run_id: str | None = None) -> int:
    """The cursor behind the newest event."""
    query = select(events.c.id).order_by(events.c.id.desc()).limit(1)
    if run_id is not None:
        query = query.where(events.c.run_id == run_id)
    return connection.execute(query).scalar() or 0


def troubles(connection: Connection, run_id: str) -> dict[str, Event]:
    """What each segment could not record when it was last heard of, by segment; one statement.

    A process in trouble tells so as soon as it can: an event of kind ``trouble`` with the
    segment's id, ``begun`` with the reason, and ``over``. A segment that is well is left out.
    """
    mine = last_troubles(select(runs.c.id).where(runs.c.id == run_id)).subquery()
    query = select(events).join(mine, mine.c.id == events.c.id).where(events.c.state == "begun")
    return {row.ref: Event(**row._mapping) for row in connection.execute(query)}


def last_troubles(run_ids: Select[tuple[str]]) -> Select[tuple[str, int]]:
    """The query for each segment's (ref, id) of the last line on trouble; runs given by query."""
    return (
        select(events.c.ref, func.max(events.c.id).label("id"))
        .where(events.c.run_id.in_(run_ids), events.c.kind == "trouble")
        .group_by(events.c.ref)
    )


def behind(connection: Connection, run_id: str, seq: int, limit: int) -> list[Event]:
    """The run's first events with a ``seq`` above that, oldest first.

    Lines of a run are numbered in the order they are committed: nothing is ever put in before one
    that was read.
    """
    query = select(events).where(events.c.run_id == run_id, events.c.seq > seq)
    found = connection.execute(query.order_by(events.c.seq).limit(limit))
    return [Event(**row._mapping) for row in found]


def newest(
    connection: Connection, run_id: str, limit: int, before: int | None = None
) -> list[Event]:
    """The run's last events (with ``seq`` below ``before``), oldest first."""
    query = select(events).where(events.c.run_id == run_id)
    query = query if before is None else query.where(events.c.seq < before)
    found = connection.execute(query.order_by(events.c.seq.desc()).limit(limit))
    return [Event(**row._mapping) for row in found][::-1]


def page(
    connection: Connection, run_id: str, limit: int, before: int | None = None,
    *, kind: str = "", actor: str = "", ref: str = "",
) -> list[Event]:  # fmt: skip
    """The run's last events (with ``seq`` below ``before``), newest first, of those that fit."""
    query = select(events).where(events.c.run_id == run_id)
    query = query if before is None else query.where(events.c.seq < before)
    for column, wanted in ((events.c.kind, kind), (events.c.actor, actor), (events.c.ref, ref)):
        query = query.where(column == wanted) if wanted else query
    found = connection.execute(query.order_by(events.c.seq.desc()).limit(limit))
    return [Event(**row._mapping) for row in found]


def actors_of(connection: Connection, run_id: str) -> list[str]:
    """Everybody who is in the run's log, by name."""
    query = select(events.c.actor).where(events.c.run_id == run_id).distinct()
    return sorted(connection.execute(query).scalars())


def first_break(connection: Connection, run_id: str) -> int | None:
    """The ``seq`` at which the run's chain does not hold, or None where all of it does."""
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


def seal_numbers(connection: Connection) -> None:
    """Seal the id of every event there is, when a database gets seals."""
    query = select(events.c.id, events.c.hash)
    sealed = {row.id: _number_seal(row.id, row.hash) for row in connection.execute(query)}
    seals.write(connection, events, sealed)


def misnumbered(connection: Connection) -> list[str]:
    """The ids of events that were given others, which no chain covers, or are gone.

    Those before the first that is sealed were written by an earlier version; of them the order
    alone is known.
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


def untold(connection: Connection, run_id: str) -> list[tuple[str, str]]:
    """The (kind, id) of what is not as the log's last events say, or is gone.

    A chain cannot tell that its end was cut off; what the record says beyond it can. Of a run that
    is the time of its last event, of whatever kind.
    """
    log = _last_told(connection, run_id)
    pairs: list[tuple[str, str]] = []
    for kind, (table, state) in _TOLD.items():
        known = {ref: told for (of, ref), told in log.items() if of == kind}
        now = seals.contents_of_run(connection, table, run_id)
        query = select(table.c.id, state).where(table.c.run_id == run_id)
        states = {row.id: row[1] for row in connection.execute(query)}
        for ref in sorted(now):
            last_state, contents = known.pop(ref, (None, None))
            stale = states[ref] is not None and states[ref] != last_state
            if last_state is None or stale or contents not in (None, now[ref]):
                pairs.append((kind, ref))
        pairs += [(kind, ref) for ref, (last, _) in known.items() if last != _WITHDRAWN]
    end = select(events.c.time).where(events.c.run_id == run_id).order_by(events.c.seq.desc())
    ended = select(runs.c.updated_at, end.limit(1).scalar_subquery().label("time"))
    row = connection.execute(ended.where(runs.c.id == run_id)).first()
    held = row is not None and row.time == row.updated_at
    return pairs if held else [*pairs, ("run", run_id)]


def contents_told(connection: Connection, kind: str, ref: str) -> str | None:
    """The digest that the last event on something has of its row; None from earlier versions."""
    query = select(events.c.payload).where(events.c.kind == kind, events.c.ref == ref)
    for payload in connection.execute(query.order_by(events.c.id.desc())).scalars():
        if payload.get(CONTENTS):
            return str(payload[CONTENTS])
    return None


def _last_told(
    connection: Connection, run_id: str
) -> dict[tuple[str, str], tuple[str | None, str | None]]:
    """The last (state, contents) that the log tells of each (kind, id)."""
    known: dict[tuple[str, str], tuple[str | None, str | None]] = {}
    made = select(launches.c.id, launches.c.fork_node_id).where(launches.c.run_id == run_id)
    forks = {row.id: row.fork_node_id for row in connection.execute(made)}
    query = select(events.c.kind, events.c.ref, events.c.state, events.c.payload)
    for row in connection.execute(query.where(events.c.run_id == run_id).order_by(events.c.seq)):
        state, contents = known.get((row.kind, row.ref), (None, None))
        if row.state != ASKED_TO_CANCEL:
            state = row.state
        known[row.kind, row.ref] = state, row.payload.get(CONTENTS) or contents
        if row.kind == "branch" and row.state == _WITHDRAWN:
            # Earlier versions named the launch alone.
            node = row.payload.get("node") or forks.get(row.payload.get("launch"), "")
            known["node", node] = _WITHDRAWN, None
    return known


def _digest(previous: str, row: dict[str, Any]) -> str:
    text = json.dumps([previous, row], sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _number_seal(event_id: int, link: str) -> str:
    return seals.digest({"id": event_id, "hash": link})
