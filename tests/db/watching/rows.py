"""Rows of what watches a run, for tests."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from branchtrack.core.actors import Actor
from branchtrack.core.agents.records import Agent, Alert, Exchange
from branchtrack.core.records import Branch
from branchtrack.db.watching import agents, alerts, exchanges


def add_alert(connection: Connection, branch: Branch, **facts: Any) -> Alert:
    """An alert of a spike at step 20, unless ``facts`` say otherwise."""
    return alerts.add(
        connection,
        branch.run_id,
        branch.id,
        **{
            "key": "spike:20",
            "kind": "spike",
            "level": "warn",
            "text": "loss is 9 at step 20",
            "step": 20,
            "metric": "loss",
            "value": 9.0,
            "offer": {"node": branch.start_node_id, "settings": {"lr": "x0.5"}},
            "segment_id": branch.segment_id,
            "node_id": branch.head_id,
            "actor": "run",
            **facts,
        },
    )


def add_agent(connection: Connection, run_id: str, name: str = "guard", **facts: Any) -> Agent:
    """An agent of ann's that guards a run."""
    return agents.add(
        connection,
        run_id,
        name,
        actor=Actor("ann"),
        **{
            "policy": "guard",
            "mode": "propose",
            "branch": "main",
            "options": {"factor": 0.5},
            "budget": {"interventions": 2},
            "host": "here",
            "pid": 1,
            "process": "1@here",
            **facts,
        },
    )


def add_exchange(connection: Connection, agent: Agent, branch_id: str, **facts: Any) -> Exchange:
    """An exchange in which a model wanted no change."""
    return exchanges.add(
        connection,
        agent,
        branch_id,
        **{
            "step": 20,
            "model": "small",
            "prompt": [{"role": "user", "content": "How is it going?"}],
            "answer": "{}",
            "outcome": "nothing",
            "error": None,
            "tokens_in": 10,
            "tokens_out": 2,
            "cost": 0.001,
            "seconds": 0.5,
            **facts,
        },
    )
