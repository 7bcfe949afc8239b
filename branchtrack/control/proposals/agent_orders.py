"""What people order about an agent that works: to stop, another mode, another budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from branchtrack.core import actors
from branchtrack.core.actors import Actor
from branchtrack.core.agents import budgets
from branchtrack.core.agents.records import Agent
from branchtrack.db import audit
from branchtrack.db.engine import Database
from branchtrack.db.watching import agents
from branchtrack.errors import InvalidInput

MODES = ("observe", "propose", "act")


def stop(database: Database, ref: str, *, actor: Actor | str) -> Agent:
    """Have an agent end; its process does so at its next look.

    Raises:
        NotFound: no such agent. Forbidden: the actor may not. InvalidInput: it has ended.
    """
    database.check_writable()
    who = actors.of(actor)
    actors.check(who, "decide")
    with database.transaction() as connection:
        agent = agents.find(connection, ref)
        audit.lock(connection, agent.run_id)
        _check_running(agents.get(connection, agent.id))
        return agents.ask_to_stop(connection, agent, who.label)


def change(
    database: Database,
    ref: str,
    *,
    actor: Actor | str,
    mode: str | None = None,
    budget: Mapping[str, Any] | None = None,
) -> Agent:
    """Give an agent another mode, or other limits of its budget (by name; the others stay).

    Raises:
        NotFound: no such agent. Forbidden: the actor may not. InvalidInput: a value that is not
        allowed, or it has ended.
    """
    database.check_writable()
    who = actors.of(actor)
    actors.check(who, "decide")
    facts: dict[str, Any] = {}
    if mode is not None:
        if mode not in MODES:
            raise InvalidInput("mode", mode, ", ".join(MODES))
        facts["mode"] = mode
    with database.transaction() as connection:
        agent = agents.find(connection, ref)
        audit.lock(connection, agent.run_id)
        agent = agents.get(connection, agent.id)
        _check_running(agent)
        if budget:
            limits = budgets.parse({**agent.budget, **budget})
            if agent.policy == "llm" and "dollars" in budget:
                budgets.check_priced(limits, agent.options)
            facts["budget"] = limits.model_dump()
        return agents.update(connection, agent.id, actor=who.label, **facts) if facts else agent


def _check_running(agent: Agent) -> None:
    if agent.state != "running":
        raise InvalidInput(
            "agent", agent.name, "an agent at work", what=f"{agent.name} is {agent.state}."
        )
