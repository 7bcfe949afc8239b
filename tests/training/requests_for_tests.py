"""A request as the record has it, for tests without a database."""

from __future__ import annotations

from typing import Any

from branchtrack.core.records import Request


def request(kind: str, number: int = 1, **fields: Any) -> Request:
    """An accepted request of ``kind``; ``fields`` replace what it has else."""
    values: dict[str, Any] = {
        "seq": number,
        "id": f"r{number}",
        "run_id": "run",
        "branch_id": "branch",
        "segment_id": "segment",
        "kind": kind,
        "payload": {},
        "requested": {},
        "actor": "ann",
        "reason": "",
        "state": "accepted",
        "created_at": 1000.0,
        "updated_at": 1000.0,
    }
    unanswered = ("error", "before", "applied", "effective", "result", "step", "node_id")
    return Request(**{**values, **dict.fromkeys(unanswered), **fields})
