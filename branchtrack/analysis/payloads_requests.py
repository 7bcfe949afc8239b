"""Requests, refusals and launches as plain JSON values; see `payloads`.

It knows no terminal and no HTTP.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from branchtrack.analysis.payloads_audit import moment as moment
from branchtrack.analysis.payloads_nodes import compared
from branchtrack.core.launchers import jobs
from branchtrack.core.records import (
    Launch,
    Refusals,
    Request,
)
from branchtrack.db import nodes, segments
from branchtrack.db import runs as run_rows
from branchtrack.db.orders import groups, launches, withdrawals


def request(record: Request) -> dict[str, Any]:
    """Return a request and its answer; ``requested`` maps the settings to change to values."""
    # `branchtrack runs` loads no pydantic.
    from branchtrack.core.interventions import has_settings

    is_flat = has_settings(record.kind)
    requested = record.requested.get("values", {}) if is_flat else record.requested
    return {
        "seq": record.seq,
        "id": record.id,
        "kind": record.kind,
        "state": record.state,
        "payload": record.payload,
        "requested": requested,
        "applied": record.applied,
        "before": record.before,
        "effective": record.effective,
        "result": record.result,
        "step": record.step,
        "node": record.node_id,
        "actor": record.actor,
        "reason": record.reason,
        "error": record.error,
        "key": record.key,
        "conditions": record.conditions,
        "channel": record.channel,
        "asked_step": record.asked_step,
        "created_at": moment(record.created_at),
        "updated_at": moment(record.updated_at),
    }


def refusals(counted: Refusals) -> dict[str, Any]:
    """Return the counts of refusals beyond those that are listed as requests."""
    return {
        "branch": counted.branch_id,
        "actor": counted.actor,
        "kind": counted.kind,
        "count": counted.count,
        "first_at": moment(counted.first_at),
        "last_at": moment(counted.last_at),
    }


def launch(connection: Connection, record: Launch) -> dict[str, Any]:
    """Return a launch, and what its process read back at its first update.

    A ``withdrawn`` launch has no branch any more, because its process trained nothing.
    """
    withdrawn = withdrawals.is_withdrawn(connection, record)
    fork = None if withdrawn else nodes.get(connection, record.fork_node_id)
    segment = None if withdrawn else segments.get(connection, record.segment_id)
    return {
        "launch": record.id,
        "run": run_rows.get_run(connection, record.run_id).name,
        "branch": launches.branch_name(connection, record),
        "group": groups.name_of(connection, record.group_id),
        "withdrawn": withdrawn,
        "node": record.node_id,
        "fork_node": None if withdrawn else record.fork_node_id,
        "state": record.state,
        "kind": record.kind or "fork",
        "mode": record.mode,
        "retries": record.retries or 0,
        "retry_of": record.retry_of,
        "overrides": record.overrides,
        "strict": record.strict,
        "environment": {
            name: value if name == "keep" else sorted(value)
            for name, value in (record.environment or {}).items()
        },
        "effective": fork.effective if fork else None,
        "restored": fork.restored if fork else None,
        "compared": compared(fork.compared) if fork else None,
        "step": segment.step if segment else None,
        "max_steps": segment.max_steps if segment else None,
        "priority": record.priority or 0,
        "labels": record.labels or [],
        "worker": record.worker,
        "device": record.device,
        "launcher": (record.launcher or {}).get("name"),
        "job": jobs.as_json(record),
        "where": jobs.words(record),
        "cancel": record.cancel,
        "pid": record.pid,
        "exit_code": record.exit_code,
        "error": record.error,
        "log": record.log,
        "actor": record.actor,
        "reason": record.reason,
        "created_at": moment(record.created_at),
        "updated_at": moment(record.updated_at),
    }
