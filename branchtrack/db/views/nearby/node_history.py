"""What happened to a node: requests, events, and the trials that began at it or tried its change.

Only reads, in one statement. It must not know what a page looks like.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import (
    LABEL_STYLE_TABLENAME_PLUS_COL,
    Connection,
    Row,
    Select,
    String,
    bindparam,
    cast,
    or_,
    select,
)
from sqlalchemy.sql.selectable import NamedFromClause

from branchtrack.core.records import Event, Node, Request
from branchtrack.core.trials.records import Trial
from branchtrack.db.orders.tables import trials
from branchtrack.db.tables import events, requests


@dataclass(frozen=True)
class NodeHistory:
    """The requests that a node commits, and the events of the node and those requests, in order.

    ``trials`` are those from the node and those of its change, the oldest first.
    """

    requests: list[Request]
    events: list[Event]
    trials: list[Trial]


def read(connection: Connection, node: Node) -> NodeHistory:
    """Return what happened to a node."""
    parameters = {"run": node.run_id, "node": node.id, "text": f"%{node.id}%"}
    rows = connection.execute(_query(), parameters).all()
    committed = {
        row.requests_id: Request(**_part(row, requests))
        for row in rows
        if row.requests_id is not None
    }
    tried = {
        row.trials_id: Trial.read(_part(row, trials)) for row in rows if row.trials_id is not None
    }
    return NodeHistory(
        list(committed.values()),
        [Event(**_part(row, events)) for row in rows if row.trials_id is None],
        [trial for trial in tried.values() if node.id in (trial.subject, *trial.spec.nodes)],
    )


@cache
def _query() -> Select[Any]:
    """Return the query of `read`: made once, as making it takes longer than the answer."""
    request_ids = select(requests.c.id).where(requests.c.node_id == bindparam("node"))
    # The nodes that a trial begins at are in its document; there are few trials in a run.
    begins = cast(trials.c.spec, String).like(bindparam("text"))
    trial_ids = select(trials.c.id).where(
        trials.c.run_id == bindparam("run"), or_(trials.c.subject == bindparam("node"), begins)
    )
    refs = (events.c.ref == bindparam("node"), *map(events.c.ref.in_, (request_ids, trial_ids)))
    return (
        select(events, requests, trials)
        .outerjoin(requests, requests.c.id == events.c.ref)
        .outerjoin(trials, trials.c.id == events.c.ref)
        .where(events.c.run_id == bindparam("run"), or_(*refs))
        .order_by(events.c.id)
        .set_label_style(LABEL_STYLE_TABLENAME_PLUS_COL)
    )


def _part(row: Row[Any], table: NamedFromClause) -> dict[str, Any]:
    """Return the columns of a table in a row that joins several."""
    return {column.name: row._mapping[f"{table.name}_{column.name}"] for column in table.c}
