"""Taking on an agent: a new row, or the row of the same name, whose process has ended."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from branchtrack.agents.runner import own_process
from branchtrack.analysis.payloads_agents import is_lost
from branchtrack.control.proposals.agent_orders import MODES
from branchtrack.core import actors
from branchtrack.core.actors import Actor
from branchtrack.core.agents import budgets
from branchtrack.core.agents.records import Agent
from branchtrack.core.names import valid_name
from branchtrack.db import audit, runs
from branchtrack.db.engine import Database
from branchtrack.db.watching import agents
from branchtrack.errors import InvalidInput


def hire(
    database: Database,
    branch_ref: str,
    *,
    policy: str,
    options: Mapping[str, Any],
    mode: str,
    actor: Actor | str,
    name: str | None = None,
    budget: Mapping[str, Any] | None = None,
    every_branch: bool = False,
) -> Agent:
    """Return an agent of a run that works in this process from now on.

    One of the same name goes on with what it remembers and has spent; its mode, options and budget
    become those that are given. Without a ``name`` it is the policy's.

    Raises:
        NotFound: no such run or branch. Forbidden: the actor may not. InvalidInput: a value that is
        not allowed, or another process works for the agent of that name.
    """
    database.check_writable()
    who = actors.of(actor)
    actors.check(who, "decide")
    if mode not in MODES:
        raise InvalidInput("mode", mode, ", ".join(MODES))
    name = valid_name(policy if name is None else name)
    limits = budgets.parse(budget or {})
    if policy == "llm":
        budgets.check_priced(limits, options)
    orders = {"mode": mode, "options": dict(options), "budget": limits.model_dump()}
    with database.transaction() as connection:
        branch = runs.find_branch(connection, branch_ref)
        audit.lock(connection, branch.run_id)
        earlier = agents.by_name(connection, branch.run_id, name)
        facts = {**orders, **own_process()}
        if earlier is None:
            followed = None if every_branch else branch.name
            return agents.add(
                connection, branch.run_id, name, actor=who, policy=policy, branch=followed, **facts
            )
        _check_free(earlier, policy)
        if earlier.state == "running":
            # Its process is gone, and could not say so.
            agents.move(connection, earlier.id, "failed", actor=who.label, note="Its process died.")
        agents.move(connection, earlier.id, "running", actor=who.label, ended_at=None, stop=None)
        memory = (
            earlier.memory if "/" not in branch_ref else {**earlier.memory, "branch": branch.name}
        )
        return agents.update(connection, earlier.id, actor=who.label, memory=memory, **facts)


def _check_free(earlier: Agent, policy: str) -> None:
    if earlier.policy != policy:
        raise InvalidInput(
            "name",
            earlier.name,
            "another name (--name)",
            what=f"The run has an agent {earlier.name!r}, whose policy is {earlier.policy}.",
        )
    # A process that has begun anew, after a rollback, is still the same one.
    is_own = earlier.process == own_process()["process"]
    if earlier.state == "running" and not is_own and not is_lost(earlier, time.time()):
        raise InvalidInput(
            "name",
            earlier.name,
            "another name (--name), or stop that one first: "
            f"`branchtrack agents --stop {earlier.id[:8]}`",
            what=f"The agent {earlier.name!r} is at work (pid {earlier.pid} on {earlier.host}).",
        )
