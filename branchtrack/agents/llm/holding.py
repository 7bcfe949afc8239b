"""A training that is paused while its agent asks a model, and goes on unless others paused it too.

What holds it is the request itself: a process that begins after a crash finds it there.
"""

from __future__ import annotations

from itertools import dropwhile

from branchtrack import control
from branchtrack.agents.execution import actor_of
from branchtrack.core.agents.records import Agent
from branchtrack.core.records import Request
from branchtrack.db import requests, runs
from branchtrack.db.engine import Database
from branchtrack.errors import BranchtrackError

#: Reasons of the two requests. The second holds whether the model has answered or not.
WAITS, OVER = "The training waits for the model's answer.", "The question to the model is over."
#: States of requests that pause or continue nothing.
_WITHOUT_EFFECT = frozenset(("proposed", "rejected", "declined", "failed", "expired", "cancelled"))


def pause(database: Database, agent: Agent, branch_ref: str, seconds: float) -> None:
    """Pause a training for a question, and wait until it is; a refusal is in the record."""
    _submit(database, agent, branch_ref, "pause", WAITS, seconds)


def unpause(database: Database, agent: Agent, branch_ref: str, seconds: float) -> None:
    """Continue a training that this agent's question has paused, and that nobody else has."""
    try:
        with database.read() as connection:
            branch = runs.find_branch(connection, branch_ref)
            latest = requests.list_of_run(connection, branch.run_id, branch_id=branch.id)
    except BranchtrackError:
        # The next look finds it paused, and tries again.
        return
    if is_held(agent, latest):
        _submit(database, agent, branch_ref, "unpause", OVER, seconds)


def is_held(agent: Agent, latest: list[Request]) -> bool:
    """Return whether an agent's question alone has paused a branch.

    ``latest`` are the branch's latest requests, the newest first.
    """
    orders = [
        request
        for request in latest
        if request.kind in ("pause", "unpause") and request.state not in _WITHOUT_EFFECT
    ]
    if not orders or not _is_own(orders[0], agent):
        return False
    # Somebody may have paused it just before the question did.
    before = next(dropwhile(lambda request: _is_own(request, agent), orders), None)
    return before is None or before.kind == "unpause" or before.segment_id != orders[0].segment_id


def _is_own(request: Request, agent: Agent) -> bool:
    is_for_question = request.kind == "pause" and request.reason == WAITS
    return is_for_question and request.agent_id == agent.id


def _submit(
    database: Database, agent: Agent, branch_ref: str, kind: str, why: str, seconds: float
) -> None:
    try:
        request = control.submit(
            database, branch_ref, {"kind": kind}, actor=actor_of(agent), reason=why
        )
        control.wait(database, request.id, seconds)
    except BranchtrackError:
        # It trains on, or has ended; the request's own record says why.
        return
