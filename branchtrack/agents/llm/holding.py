"""A training that is held while its agent asks a model.

The pause has an end of its own, so that training goes on if the agent is killed; and the agent
ends that pause alone, so that one of somebody else's stays.
"""

from __future__ import annotations

from collections.abc import Mapping

from branchtrack import control
from branchtrack.agents.execution import actor_of
from branchtrack.core.agents.records import Agent
from branchtrack.core.records import Request
from branchtrack.db.engine import Database
from branchtrack.errors import BranchtrackError

#: Reasons of the two requests. The second holds whether the model has answered or not.
WAITS, OVER = "The training waits for the model's answer.", "The question to the model is over."
#: Seconds beyond a question's own in which its answer is carried out.
LEEWAY = 60.0


def pause(database: Database, agent: Agent, branch_ref: str, seconds: float) -> Request | None:
    """Pause a training for a question of so many seconds, and wait until it is.

    None if that was refused, which the record says.
    """
    payload = {"kind": "pause", "seconds": seconds + LEEWAY}
    return _submit(database, agent, branch_ref, payload, WAITS, seconds)


def unpause(
    database: Database, agent: Agent, branch_ref: str, pause: Request, seconds: float
) -> None:
    """End the pause of a question, and wait until that is done."""
    payload = {"kind": "unpause", "pause": pause.id}
    _submit(database, agent, branch_ref, payload, OVER, seconds)


def _submit(
    database: Database,
    agent: Agent,
    branch_ref: str,
    payload: Mapping[str, object],
    why: str,
    seconds: float,
) -> Request | None:
    request = None
    try:
        request = control.submit(database, branch_ref, payload, actor=actor_of(agent), reason=why)
        control.wait(database, request.id, seconds)
    except BranchtrackError:
        # It trains on, or has ended; the request's own record says why.
        pass
    return request
