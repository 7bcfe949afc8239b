"""Exchanges with language models: written once, whatever came of them."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Connection, Row, func, select

from branchtrack.core.agents.records import Agent, Exchange
from branchtrack.core.names import new_id, storable
from branchtrack.core.plain_values import cleaned
from branchtrack.db import audit, runs, seals
from branchtrack.db.tables import exchanges
from branchtrack.errors import NotFound


def add(connection: Connection, agent: Agent, branch_id: str, **facts: Any) -> Exchange:
    """Store an exchange of an agent about a branch, and append its event.

    ``facts``: step, model, prompt, answer, outcome, error, tokens_in, tokens_out, cost, seconds,
    request_id, launch_id.
    """
    row = {
        "id": new_id(),
        "run_id": agent.run_id,
        "branch_id": branch_id,
        "agent_id": agent.id,
        "created_at": time.time(),
        **{key: cleaned(value) for key, value in facts.items()},
    }
    connection.execute(exchanges.insert(), row)
    told = ("model", "outcome", "request_id", "launch_id", "tokens_in", "tokens_out", "cost")
    audit.append(
        connection,
        agent.run_id,
        kind="exchange",
        ref=row["id"],
        state=row["outcome"],
        actor=f"{agent.name} (agent)",
        step=row.get("step"),
        payload={
            **{key: row[key] for key in told if row.get(key) is not None},
            **seals.renew_for_event(connection, exchanges, row["id"]),
        },
        reason=storable(row.get("error") or ""),
    )
    return get(connection, row["id"])


def settle(
    connection: Connection, exchange_id: str, *, actor: str, outcome: str, **facts: Any
) -> Exchange:
    """Record what came of an answer; ``facts``: error, request_id, launch_id."""
    values = {"outcome": outcome, **{key: cleaned(value) for key, value in facts.items()}}
    connection.execute(exchanges.update().where(exchanges.c.id == exchange_id).values(**values))
    exchange = get(connection, exchange_id)
    audit.append(
        connection,
        exchange.run_id,
        kind="exchange",
        ref=exchange_id,
        state=outcome,
        actor=actor,
        step=exchange.step,
        payload={
            **{key: value for key, value in facts.items() if value is not None},
            **seals.renew_for_event(connection, exchanges, exchange_id),
        },
        reason=storable(facts.get("error") or ""),
    )
    return exchange


def get(connection: Connection, exchange_id: str) -> Exchange:
    """Return the exchange with exactly that id."""
    row = connection.execute(select(exchanges).where(exchanges.c.id == exchange_id)).first()
    if row is None:
        raise NotFound("exchange", exchange_id)
    return _record(row)


def find(connection: Connection, ref: str) -> Exchange:
    """Return the exchange whose id starts with ``ref``.

    Raises:
        NotFound: none. Ambiguous: several.
    """
    row = runs.one_by_prefix(connection, select(exchanges), exchanges.c.id, "exchange", ref)
    if row is None:
        raise NotFound("exchange", ref)
    return _record(row)


def of_agent(
    connection: Connection, agent_id: str, limit: int = 50, before: int | None = None
) -> list[Exchange]:
    """Return the newest exchanges of an agent (``seq`` below ``before``), newest first."""
    query = select(exchanges).where(exchanges.c.agent_id == agent_id)
    query = query if before is None else query.where(exchanges.c.seq < before)
    rows = connection.execute(query.order_by(exchanges.c.seq.desc()).limit(limit))
    return [_record(row) for row in rows]


def of_request(connection: Connection, request_id: str) -> Exchange | None:
    """Return the exchange that a request came from."""
    query = select(exchanges).where(exchanges.c.request_id == request_id)
    row = connection.execute(query).first()
    return None if row is None else _record(row)


def count(connection: Connection, agent_id: str) -> int:
    """Return how many exchanges an agent has had."""
    query = select(func.count()).where(exchanges.c.agent_id == agent_id)
    return int(connection.execute(query).scalar_one())


def _record(row: Row[Any]) -> Exchange:
    return Exchange(**row._mapping)
