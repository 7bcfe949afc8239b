"""Alerts: rows that are written once, whoever notices, and marked as seen and as delivered."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, select

from branchtrack.core.agents.records import Alert
from branchtrack.core.names import new_id, storable
from branchtrack.core.plain_values import cleaned
from branchtrack.db import audit, runs, seals
from branchtrack.db.tables import alerts
from branchtrack.errors import NotFound


def add(connection: Connection, run_id: str, branch_id: str, *, key: str, **facts: Any) -> Alert:
    """Store an alert and append its event; return the earlier one if the run has one of that key.

    ``facts``: kind, level, text, step, metric, value, offer, segment_id, node_id, actor.
    """
    audit.lock(connection, run_id)
    where = (alerts.c.run_id == run_id) & (alerts.c.key == key)
    earlier = connection.execute(select(alerts).where(where)).first()
    if earlier is not None:
        return _record(earlier)
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


def after(
    connection: Connection,
    seq: int,
    limit: int,
    *,
    run_id: str | None = None,
    branch_id: str | None = None,
) -> list[Alert]:
    """Return the first alerts with a ``seq`` above ``seq``, oldest first."""
    query = select(alerts).where(alerts.c.seq > seq, *_of(run_id, branch_id))
    rows = connection.execute(query.order_by(alerts.c.seq).limit(limit))
    return [_record(row) for row in rows]


def newest(
    connection: Connection,
    limit: int,
    before: int | None = None,
    *,
    run_id: str | None = None,
    branch_id: str | None = None,
) -> list[Alert]:
    """Return the newest alerts (``seq`` below ``before``), newest first."""
    query = select(alerts).where(*_of(run_id, branch_id))
    query = query if before is None else query.where(alerts.c.seq < before)
    rows = connection.execute(query.order_by(alerts.c.seq.desc()).limit(limit))
    return [_record(row) for row in rows]


def count_unseen(connection: Connection, run_id: str | None = None) -> int:
    """Return how many alerts nobody has seen."""
    query = select(func.count()).where(alerts.c.seen_at.is_(None), *_of(run_id, None))
    return int(connection.execute(query).scalar_one())


def _of(run_id: str | None, branch_id: str | None) -> list[ColumnElement[bool]]:
    wanted = ((alerts.c.run_id, run_id), (alerts.c.branch_id, branch_id))
    return [column == value for column, value in wanted if value is not None]


def _record(row: Row[Any]) -> Alert:
    return Alert(**row._mapping)
