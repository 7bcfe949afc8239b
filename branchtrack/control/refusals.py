"""The record of refused requests: the first ones of an actor in full, the others as a count.

An actor without any rights can have many requests refused, and they share the trainings' database.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection

from branchtrack.control.text import shortened
from branchtrack.core.actors import Actor
from branchtrack.core.records import Branch
from branchtrack.db import refusals, requests, runs
from branchtrack.db.engine import Database
from branchtrack.errors import BranchtrackError, NotFound

#: Refusals of an actor in a run that are stored in full within a number of seconds.
WHOLE, _WINDOW = 20, 3600.0
#: Characters that are stored of a refusal: of its payload, of its reason and of the error.
_PAYLOAD, _REASON, _ERROR = 1000, 500, 1000


def record(
    connection: Connection,
    branch: Branch,
    who: Actor,
    error: BranchtrackError,
    *,
    kind: str,
    payload: Mapping[str, Any],
    reason: str,
    step: int | None,
) -> None:
    """Record a refusal; ``step`` is the current step of the branch."""
    since = time.time() - _WINDOW
    if refusals.kept_whole(connection, branch.run_id, who.label, since) >= WHOLE:
        refusals.count(connection, branch, who.label, type(error).__name__)
        return
    request = requests.add(
        connection,
        branch,
        kind=kind,
        payload=shortened(payload, _PAYLOAD),
        requested={},
        actor=who,
        reason=reason[:_REASON],
        step=step,
    )
    requests.move(connection, request.id, "rejected", actor=who.label, error=str(error)[:_ERROR])


def count_refusals(database: Database, refused: Mapping[tuple[str, str, str], int]) -> None:
    """Count refusals of requests that were never stored, by (branch, actor, kind of error).

    A branch that does not exist has no record.
    """
    with database.transaction() as connection:
        for (branch_ref, actor, kind), times in refused.items():
            with suppress(NotFound):
                branch = runs.find_branch(connection, branch_ref)
                refusals.count(connection, branch, actor, kind, times)
