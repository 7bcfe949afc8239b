"""What happened to a node: requests, events, and the newest trials of it and of its change.

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
    func,
    or_,
    select,
)
from sqlalchemy.sql.selectable import NamedFromClause

from branchtrack.core.records import Event, Node, Request
from branchtrack.core.trials.records import TrialHead
from branchtrack.db.orders.tables import trials
from branchtrack.db.orders.trials import HEAD, read_head
from branchtrack.db.tables import events, requests

#: The most trials that are listed with a node.
MOST_TRIALS = 20


@dataclass(frozen=True)
class NodeHistory:
    """The requests that a node commits, and the events of the node and those requests, in order.

    ``trials`` are the newest that tried its change, then the newest that began at it, of all at
    most `MOST_TRIALS`, the oldest first; ``has_more_trials`` says whether there are others.
    """

    requests: list[Request]
    events: list[Event]
    trials: list[TrialHead]
    has_more_trials: bool


def read(connection: Connection, node: Node) -> NodeHistory:
    """Return what happened to a node."""
    parameters = {"run": node.run_id, "node": node.id, "text": f"%{node.id}%"}
    rows = connection.execute(_query(), parameters).all()
    committed = {
        row.requests_id: Request(**_part(row, requests))
        for row in rows
        if row.requests_id is not None
    }
    stored = {row.trials_id: _trial(row) for row in rows if row.trials_id is not None}
    related = [t for t in stored.values() if node.id in (t.subject, *t.spec.nodes)]
    related.sort(key=lambda trial: (trial.subject == node.id, trial.created_at))
    return NodeHistory(
        list(committed.values()),
        [Event(**_part(row, events)) for row in rows if row.trials_id is None],
        sorted(related[-MOST_TRIALS:], key=lambda trial: trial.created_at),
        len(related) > MOST_TRIALS,
    )


@cache
def _query() -> Select[Any]:
    """Return the query of `read`: made once, as making it takes longer than the answer."""
    request_ids = select(requests.c.id).where(requests.c.node_id == bindparam("node"))
    # The nodes that a trial begins at are in its document; there are few trials in a run.
    begins = cast(trials.c.spec, String).like(bindparam("text"))
    is_own = func.coalesce(trials.c.subject == bindparam("node"), False)
    trial_ids = (
        select(trials.c.id)
        .where(trials.c.run_id == bindparam("run"), or_(is_own, begins))
        .order_by(is_own.desc(), trials.c.created_at.desc())
        .limit(MOST_TRIALS + 1)
    )
    refs = (events.c.ref == bindparam("node"), *map(events.c.ref.in_, (request_ids, trial_ids)))
    return (
        select(events, requests, *HEAD)
        .outerjoin(requests, requests.c.id == events.c.ref)
        .outerjoin(trials, trials.c.id == events.c.ref)
        .where(events.c.run_id == bindparam("run"), or_(*refs))
        .order_by(events.c.id)
        .set_label_style(LABEL_STYLE_TABLENAME_PLUS_COL)
    )


def _part(row: Row[Any], table: NamedFromClause) -> dict[str, Any]:
    """Return the columns of a table in a row that joins several."""
    return {column.name: row._mapping[f"{table.name}_{column.name}"] for column in table.c}


def _trial(row: Row[Any]) -> TrialHead:
    return read_head({column.name: row._mapping[column] for column in HEAD})
