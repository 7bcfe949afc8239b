"""Agents and proposals as pages show them, read in few statements."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from branchtrack import control
from branchtrack.analysis.payloads_agents import is_lost
from branchtrack.core import preconditions
from branchtrack.core.agents.records import Agent, Exchange
from branchtrack.core.records import Request
from branchtrack.db import requests, runs, tables
from branchtrack.db.engine import Database
from branchtrack.db.watching import agents, exchanges
from branchtrack.web.view.request_lines import describe_request

#: Requests and exchanges of an agent that its page shows.
MOST_REQUESTS, MOST_EXCHANGES = 30, 20


@dataclass(frozen=True)
class AgentLine:
    """An agent with its run's name, its state as people read it, and its budget in words."""

    agent: Agent
    run: str
    branch: str
    state: str
    used: str


@dataclass(frozen=True)
class ProposalLine:
    """A proposal in words, with the names of its run and branch, and the seconds it waits on."""

    request: Request
    run: str
    branch: str
    what: str
    expires_at: float | None


def agent_line(agent: Agent, run: str) -> AgentLine:
    """Return an agent as a line."""
    state = "lost" if is_lost(agent, time.time()) else agent.state
    branch = agent.memory.get("branch") or agent.branch or ""
    return AgentLine(agent, run, branch, state, used(agent))


def used(agent: Agent) -> str:
    """Return what an agent has used of the budget that it has, in words."""
    limits = {
        name: limit
        for name, limit in agent.budget.items()
        if limit is not None and name != "per_1000_steps"
    }
    parts = [
        f"{_number(agent.spent.get(name, 0))} of {_number(limit)} {name}"
        for name, limit in limits.items()
    ]
    tokens = agent.spent.get("tokens")
    if tokens and "tokens" not in limits:
        parts.append(f"{_number(tokens)} tokens")
    return ", ".join(parts)


def _number(value: Any) -> str:
    """Return a count, or an amount of dollars, with few digits; what is no number as it is."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return str(value)
    return f"{value:,.2f}" if value != int(value) else f"{int(value):,}"


def listed(connection: Connection, run_id: str | None) -> list[AgentLine]:
    """Return the agents of a run or of all runs, those at work first."""
    names = _run_names(connection)
    lines = [agent_line(row, names[row.run_id]) for row in agents.listed(connection, run_id)]
    return sorted(lines, key=lambda line: line.state != "running")


def proposals(connection: Connection, run_id: str | None) -> list[ProposalLine]:
    """Return the proposals that wait, the oldest first."""
    waiting = requests.proposals(connection, run_id)
    names = _run_names(connection)
    ids = {request.branch_id for request in waiting}
    table = tables.branches
    query = select(table.c.id, table.c.name).where(table.c.id.in_(ids))
    branches = {row.id: row.name for row in connection.execute(query)}
    return [
        ProposalLine(
            request,
            names[request.run_id],
            branches[request.branch_id],
            describe_request(request),
            request.conditions.get("expires_at"),
        )
        for request in waiting
    ]


def expire(database: Database) -> None:
    """Expire what nobody decided on in time, before it is shown; it writes only if there is any."""
    with database.read() as connection:
        waiting = requests.proposals(connection)
    now = time.time()
    if not any(preconditions.overdue(row.conditions, step=0, now=now) for row in waiting):
        return
    with database.transaction() as connection:
        control.expire_overdue(connection, control.local_actor())


def page(
    connection: Connection, agent: Agent, before: int | None
) -> tuple[AgentLine, Sequence[Request], dict[str, str], Sequence[Exchange], dict[str, Any]]:
    """Return an agent, its requests with their descriptions, and a page of its exchanges."""
    run = runs.get_run(connection, agent.run_id)
    asked = requests.of_agent(connection, agent.id, MOST_REQUESTS)
    said = exchanges.of_agent(connection, agent.id, MOST_EXCHANGES + 1, before)
    shown = said[:MOST_EXCHANGES]
    older = {"before": shown[-1].seq} if len(said) > MOST_EXCHANGES else {}
    described = {request.id: describe_request(request) for request in asked}
    return agent_line(agent, run.name), asked, described, shown, older


def _run_names(connection: Connection) -> dict[str, str]:
    query = select(tables.runs.c.id, tables.runs.c.name)
    return {row.id: row.name for row in connection.execute(query)}
