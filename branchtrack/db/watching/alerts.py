"""Alerts: rows that are written once, whoever notices, and marked as seen and as delivered."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, or_, select

from branchtrack.core.agents.records import Alert
from branchtrack.core.names import new_id, storable
from branchtrack.core.plain_values import cleaned
from branchtrack.db import audit, runs, seals
from branchtrack.db.deletion import visibility
from branchtrack.db.tables import alerts
from branchtrack.errors import NotFound


def add(connection: Connection, run_id: str, branch_id: str, *, key: str, **facts: Any) -> Alert:
    """Store an alert and append its event; return the earlier one if the run has one of that key.

    ``facts``: kind, level, text, step, metric, value, offer, segment_id, node_id, actor.
    """
    audit.lock(connection, run_id)
    earlier = by_key(connection, run_id, key)
    if earlier is not None:
        return earlier
    actor = facts.pop("actor")
    row = {
        "id": new_id(),
        "run_id": run_id,
        "branch_id": branch_id,
        "key": key,
        "created_at": time.time(),
        **{name: cleaned(value) for name, value in facts.items()},
        "text": storable(facts["text"]),
    }
    connection.execute(alerts.insert(), row)
    told = ("kind", "metric", "value", "offer")
    audit.append(
        connection,
        run_id,
        kind="alert",
        ref=row["id"],
        state=row["level"],
        actor=actor,
        step=row.get("step"),
        payload={
            **{name: row[name] for name in told if row.get(name) is not None},
            **seals.renew_for_event(connection, alerts, row["id"]),
        },
        reason=row["text"],
    )
    return get(connection, row["id"])


def mark_seen(connection: Connection, alert_id: str, actor: str) -> Alert:
    """Note who has seen an alert, if nobody had."""
    unseen = (alerts.c.id == alert_id) & alerts.c.seen_at.is_(None)
    values = {"seen_at": time.time(), "seen_by": actor}
    connection.execute(alerts.update().where(unseen).values(**values))
    seals.renew(connection, alerts, alert_id)
    return get(connection, alert_id)


def mark_all_seen(connection: Connection, run_id: str, actor: str) -> int:
    """Note who has seen the alerts of a run that nobody had seen; return how many."""
    unseen = (alerts.c.run_id == run_id) & alerts.c.seen_at.is_(None)
    ids = list(connection.execute(select(alerts.c.id).where(unseen)).scalars())
    values = {"seen_at": time.time(), "seen_by": actor}
    connection.execute(alerts.update().where(unseen).values(**values))
    for alert_id in ids:
        seals.renew(connection, alerts, alert_id)
    return len(ids)


def get(connection: Connection, alert_id: str) -> Alert:
    """Return the alert with exactly that id."""
    row = connection.execute(select(alerts).where(alerts.c.id == alert_id)).first()
    if row is None:
        raise NotFound("alert", alert_id)
    return _record(row)


def find(connection: Connection, ref: str) -> Alert:
    """Return the alert whose id starts with ``ref``.

    Raises:
        NotFound: none. Ambiguous: several.
    """
    row = runs.one_by_prefix(connection, select(alerts), alerts.c.id, "alert", ref)
    if row is None:
        raise NotFound("alert", ref)
    return _record(row)


def by_key(connection: Connection, run_id: str, key: str) -> Alert | None:
    """Return the alert of a run with that key."""
    query = select(alerts).where(alerts.c.run_id == run_id, alerts.c.key == key)
    row = connection.execute(query).first()
    return None if row is None else _record(row)


def of_segment(connection: Connection, segment_id: str, kind: str) -> Alert | None:
    """Return the newest alert of a kind about a segment."""
    query = select(alerts).where(alerts.c.segment_id == segment_id, alerts.c.kind == kind)
    row = connection.execute(query.order_by(alerts.c.seq.desc()).limit(1)).first()
    return None if row is None else _record(row)


def after(
    connection: Connection,
    seq: int,
    limit: int,
    *,
    run_id: str | None = None,
    branch_id: str | None = None,
    levels: Collection[str] | None = None,
) -> list[Alert]:
    """Return the first alerts with a ``seq`` above ``seq``, oldest first; see `newest`."""
    query = select(alerts).where(alerts.c.seq > seq, *_of(run_id, branch_id, levels))
    rows = connection.execute(query.order_by(alerts.c.seq).limit(limit))
    return [_record(row) for row in rows]


def newest(
    connection: Connection,
    limit: int,
    before: int | None = None,
    *,
    run_id: str | None = None,
    branch_id: str | None = None,
    levels: Collection[str] | None = None,
) -> list[Alert]:
    """Return the newest alerts (``seq`` below ``before``), newest first.

    Those of a run, of a branch, or of all runs; none of what is in the trash.
    """
    query = select(alerts).where(*_of(run_id, branch_id, levels))
    query = query if before is None else query.where(alerts.c.seq < before)
    rows = connection.execute(query.order_by(alerts.c.seq.desc()).limit(limit))
    return [_record(row) for row in rows]


def count_unseen(
    connection: Connection, run_id: str | None = None, levels: Collection[str] | None = None
) -> int:
    """Return how many alerts nobody has seen, of a run or of all."""
    query = select(func.count().label("unseen"))
    query = query.where(alerts.c.seen_at.is_(None), *_of(run_id, None, levels))
    return int(connection.execute(query).scalar_one())


def undelivered(
    connection: Connection, since: float, now: float, levels: Collection[str], limit: int
) -> list[Alert]:
    """Return alerts of these levels, raised here after ``since``, that are to be delivered by now.

    Those that were given up, or that wait for another attempt, are not among them: however many
    they are, they do not hold up what comes after them.
    """
    gave_up, next_at = alerts.c.delivery["gave_up"], alerts.c.delivery["next_at"].as_float()
    query = select(alerts).where(
        gave_up.as_boolean().is_not(True),
        or_(next_at.is_(None), next_at <= now),
        alerts.c.delivered_at.is_(None),
        alerts.c.created_at > since,
        alerts.c.level.in_(sorted(levels)),
        # One from another home was delivered there.
        alerts.c.logged_seq.is_(None),
    )
    rows = connection.execute(query.order_by(alerts.c.seq).limit(limit))
    return [_record(row) for row in rows]


def change_delivery(
    connection: Connection,
    alert: Alert,
    delivery: Mapping[str, Any],
    *,
    delivered_at: float | None = None,
) -> bool:
    """Write how far the delivery of an alert is, unless another process has since it was read."""
    query = select(alerts).where(alerts.c.id == alert.id).with_for_update()
    row = connection.execute(query).first()
    if row is None:
        return False
    current = _record(row)
    if (current.delivery, current.delivered_at) != (alert.delivery, alert.delivered_at):
        return False
    values = {"delivery": cleaned(dict(delivery)), "delivered_at": delivered_at}
    connection.execute(alerts.update().where(alerts.c.id == alert.id).values(**values))
    seals.renew(connection, alerts, alert.id)
    return True


def _of(
    run_id: str | None, branch_id: str | None, levels: Collection[str] | None = None
) -> list[ColumnElement[bool]]:
    chosen = ((alerts.c.run_id, run_id), (alerts.c.branch_id, branch_id))
    conditions = [column == value for column, value in chosen if value is not None]
    if levels is not None:
        conditions.append(alerts.c.level.in_(sorted(levels)))
    if run_id is None and branch_id is None:
        conditions.append(visibility.of_visible_runs(alerts.c.run_id))
    if branch_id is None:
        conditions.append(visibility.of_visible_branches(alerts.c.branch_id))
    return conditions


def _record(row: Row[Any]) -> Alert:
    return Alert(**row._mapping)
