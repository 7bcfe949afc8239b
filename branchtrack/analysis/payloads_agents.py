"""Agents, their proposals and their exchanges as plain JSON values; see `payloads`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from branchtrack import processes
from branchtrack.analysis.payloads_audit import moment
from branchtrack.analysis.payloads_requests import request as request_payload
from branchtrack.core.agents.records import Agent, Exchange
from branchtrack.core.records import Request
from branchtrack.db import runs
from branchtrack.db.watching import agents

#: Seconds of silence after which an agent's process counts as gone.
SILENT_AFTER = 15.0


def is_lost(record: Agent, now: float) -> bool:
    """Return whether an agent should run, but its process is gone or silent."""
    if record.state != "running":
        return False
    gone = processes.is_gone_from_here(record.process or "")
    return bool(gone) or (gone is None and now - (record.heartbeat_at or 0.0) > SILENT_AFTER)


def agent(connection: Connection, record: Agent, now: float) -> dict[str, Any]:
    """Return an agent; ``now`` decides whether one that should run is ``lost``."""
    return {
        "id": record.id,
        "name": record.name,
        "run": runs.get_run(connection, record.run_id).name,
        "branch": record.memory.get("branch") or record.branch,
        "policy": record.policy,
        "mode": record.mode,
        "state": "lost" if is_lost(record, now) else record.state,
        "step": record.step,
        "note": record.note,
        "options": record.options,
        "budget": record.budget,
        "spent": {key: value for key, value in record.spent.items() if key != "at"},
        "actor": record.actor,
        "stop": record.stop,
        "created_at": moment(record.created_at),
        "heartbeat_at": None if record.heartbeat_at is None else moment(record.heartbeat_at),
        "ended_at": None if record.ended_at is None else moment(record.ended_at),
    }


def proposal(connection: Connection, record: Request) -> dict[str, Any]:
    """Return a proposal: a request with its run, branch and agent, and when it expires."""
    maker = agents.get(connection, record.agent_id) if record.agent_id else None
    expires = record.conditions.get("expires_at")
    return {
        **request_payload(record),
        "run": runs.get_run(connection, record.run_id).name,
        "branch": runs.get_branch(connection, record.branch_id).name,
        "agent": maker.name if maker else None,
        "expires_at": None if expires is None else moment(expires),
        "decided_by": record.decided_by,
    }


def exchange(record: Exchange, *, whole: bool = True) -> dict[str, Any]:
    """Return an exchange with a language model; without the prompt and the answer if not whole."""
    said = {"prompt": record.prompt, "answer": record.answer} if whole else {}
    return {
        "seq": record.seq,
        "id": record.id,
        "step": record.step,
        "model": record.model,
        "outcome": record.outcome,
        "request": record.request_id,
        "launch": record.launch_id,
        "error": record.error,
        "tokens_in": record.tokens_in,
        "tokens_out": record.tokens_out,
        "cost": record.cost,
        "seconds": record.seconds,
        "created_at": moment(record.created_at),
        **said,
    }
