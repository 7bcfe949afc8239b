"""Agents of a run: one row each, whichever process works for it at present."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, select

from branchtrack.core import lifecycle
from branchtrack.core.actors import Actor
from branchtrack.core.agents.records import Agent
from branchtrack.core.names import new_id, storable
from branchtrack.core.plain_values import cleaned
from branchtrack.db import audit, runs, seals
from branchtrack.db.deletion import visibility
from branchtrack.db.tables import agents
from branchtrack.errors import IllegalTransition, NotFound

#: The facts that an agent's events have.
_LOGGED = ("policy", "mode", "branch", "options", "budget")


def add(connection: Connection, run_id: str, name: str, *, actor: Actor, **facts: Any) -> Agent:
    """Store an agent as ``running``; ``facts``: policy, mode, branch, options, budget, process."""
    now = time.time()
    row = {
        "id": new_id(),
        "run_id": run_id,
        "name": name,
        "actor": actor.label,
        "channel": actor.channel,
        "state": "running",
        "note": "",
        "spent": {},
        "memory": {},
        "created_at": now,
        "heartbeat_at": now,
        **{key: cleaned(value) for key, value in facts.items()},
    }
    connection.execute(agents.insert(), row)
    return _told(connection, row["id"], actor.label, {key: row.get(key) for key in _LOGGED})


def update(connection: Connection, agent_id: str, *, actor: str, **facts: Any) -> Agent:
    """Change the mode, the budget or other orders of an agent, with an event that says so."""
    values = {key: cleaned(value) for key, value in facts.items()}
    connection.execute(agents.update().where(agents.c.id == agent_id).values(**values))
    return _told(connection, agent_id, actor, {k: v for k, v in values.items() if k in _LOGGED})


def move(
    connection: Connection, agent_id: str, state: str, *, actor: str, note: str = "", **facts: Any
) -> Agent:
    """Move an agent to a state; ``note`` says why.

    Raises:
        IllegalTransition: its life has no such move.
    """
    values = {"state": state, "note": storable(note), **facts}
    if state != "running":
        values |= {"ended_at": time.time()}
    moved = connection.execute(
        agents.update()
        .where(agents.c.id == agent_id, agents.c.state.in_(lifecycle.sources("agent", state)))
        .values(**values)
    )
    if not moved.rowcount:
        raise IllegalTransition("agent", get(connection, agent_id).state, state)
    return _told(connection, agent_id, actor, {}, note)


def beat(connection: Connection, agent_id: str, **facts: Any) -> Agent:
    """Record that an agent works, and what it has spent, remembers and says; without an event."""
    values = {key: cleaned(value) for key, value in facts.items()}
    connection.execute(
        agents.update().where(agents.c.id == agent_id).values(heartbeat_at=time.time(), **values)
    )
    seals.renew(connection, agents, agent_id)
    return get(connection, agent_id)


def record_decision(
    connection: Connection,
    agent_id: str,
    *,
    actor: str,
    payload: Mapping[str, Any],
    reason: str,
    outcome: str,
) -> Agent:
    """Append the event of a decision that nobody was asked for; ``outcome`` says why not."""
    return _told(connection, agent_id, actor, {**payload, "outcome": outcome}, storable(reason))


def ask_to_stop(connection: Connection, agent: Agent, actor: str) -> Agent:
    """Mark an agent as no longer wanted; its process ends it."""
    connection.execute(agents.update().where(agents.c.id == agent.id).values(stop=actor))
    return _told(connection, agent.id, actor, {"asked": "stop"})


def get(connection: Connection, agent_id: str) -> Agent:
    """Return the agent with exactly that id."""
    row = connection.execute(select(agents).where(agents.c.id == agent_id)).first()
    if row is None:
        raise NotFound("agent", agent_id)
    return _record(row)


def find(connection: Connection, ref: str) -> Agent:
    """Return the agent of ``RUN/NAME``, or whose id starts with ``ref``.

    Raises:
        NotFound: none. Ambiguous: several.
    """
    run_ref, separator, name = ref.partition("/")
    if separator:
        agent = by_name(connection, runs.find_run(connection, run_ref).id, name)
        if agent is None:
            raise NotFound("agent", ref)
        return agent
    query = select(agents).where(visibility.of_visible_runs(agents.c.run_id))
    row = runs.one_by_prefix(connection, query, agents.c.id, "agent", ref)
    if row is None:
        raise NotFound("agent", ref)
    return _record(row)


def by_name(connection: Connection, run_id: str, name: str) -> Agent | None:
    """Return the agent of a run with that name."""
    query = select(agents).where(agents.c.run_id == run_id, agents.c.name == name)
    row = connection.execute(query).first()
    return None if row is None else _record(row)


def listed(connection: Connection, run_id: str | None = None) -> list[Agent]:
    """Return the agents of a run, or of all runs not in the trash, the newest first."""
    is_listed = visibility.of_visible_runs(agents.c.run_id)
    query = select(agents).where(is_listed if run_id is None else agents.c.run_id == run_id)
    rows = connection.execute(query.order_by(agents.c.created_at.desc(), agents.c.id))
    return [_record(row) for row in rows]


def _told(
    connection: Connection, agent_id: str, actor: str, facts: Mapping[str, Any], why: str = ""
) -> Agent:
    """Seal an agent's row and append an event about it."""
    agent = get(connection, agent_id)
    seals.renew(connection, agents, agent_id)
    audit.append(
        connection,
        agent.run_id,
        kind="agent",
        ref=agent_id,
        state=agent.state,
        actor=actor,
        step=agent.step,
        payload={"name": agent.name, **{k: v for k, v in facts.items() if v is not None}},
        reason=why,
    )
    return agent


def _record(row: Row[Any]) -> Agent:
    return Agent(**row._mapping)
