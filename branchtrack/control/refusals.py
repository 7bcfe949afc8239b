"""What is kept of a request that was refused: the first of an actor whole, the others counted.

Whoever may only look can have very many requests refused; the database is that of the trainings.
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

#: Refusals of an actor in a run that are kept whole in so many seconds.
WHOLE, _WINDOW = 20, 3600.0
#: Characters that are kept of one: of its payload, of its reason and of the error.
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
    """Leave a trace of a refusal; ``step`` is the branch's now."""
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
    """Count refusals that never came to be looked at, by (branch, actor, kind of error).

    A branch that there is not has no record.
    """
    with database.transaction() as connection:
        for (branch_ref, actor, kind), times in refused.items():
            with suppress(NotFound):
                branch = runs.find_branch(connection, branch_ref)
                refusals.count(connection, branch, actor, kind, times)
