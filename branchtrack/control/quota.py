"""Orders of tokens and agents, stored as requests so that limits count them.

An order of anybody else leaves a launch in the record, and nothing here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from branchtrack.control import refusals
from branchtrack.control.text import shortened
from branchtrack.core import actors
from branchtrack.core.actors import Actor
from branchtrack.core.records import Branch, Launch, Node, Request
from branchtrack.db import audit, requests, runs, segments
from branchtrack.errors import BranchtrackError


def check_limit(connection: Connection, node: Node, who: Actor) -> None:
    """Refuse an order beyond the limit of its token.

    Raises:
        RateLimited: the limit is reached.
    """
    if who.limit is not None and who.token_id is not None:
        actors.check_limit(who, requests.count_recent(connection, node.run_id, who.token_id))


def is_kept(who: Actor) -> bool:
    """Return whether orders of this actor are stored as requests."""
    return who.token_id is not None or who.agent_id is not None


def receive(
    connection: Connection,
    node: Node,
    order: Mapping[str, Any],
    overrides: dict[str, Any],
    who: Actor,
    reason: str,
) -> Request | None:
    """Store the order of a token or an agent as an accepted request; None of anybody else.

    ``order`` holds ``node mode name settings``. ``overrides`` are the settings, validated.

    Raises:
        RateLimited: other requests reached the limit while the node was checked.
    """
    if not is_kept(who):
        return None
    audit.lock(connection, node.run_id)
    check_limit(connection, node, who)
    request = add(connection, node, order, {**order, "settings": overrides}, who, reason)
    return requests.move(connection, request.id, "accepted", actor=who.label)


def finish(connection: Connection, request: Request, node: Node, launch: Launch) -> None:
    """Mark the request as done once its launch exists, which has a life cycle of its own."""
    requests.move(
        connection,
        request.id,
        "applied",
        actor=request.actor,
        step=node.step,
        requested={**request.requested, "mode": launch.mode},
    )
    requests.move(connection, request.id, "done", actor=request.actor, result={"launch": launch.id})


def refuse(
    connection: Connection,
    node: Node,
    order: Mapping[str, Any],
    who: Actor,
    reason: str,
    error: BranchtrackError,
) -> None:
    """Store the refused order of a token or an agent, with the error."""
    branch = runs.get_branch(connection, node.branch_id)
    refusals.record(
        connection,
        branch,
        who,
        error,
        kind="resume",
        payload=order,
        reason=reason,
        step=_step(connection, branch),
    )


def add(
    connection: Connection,
    node: Node,
    order: Mapping[str, Any],
    requested: dict[str, Any],
    who: Actor,
    reason: str,
    conditions: dict[str, Any] | None = None,
) -> Request:
    """Store an order as a received request; no training process has to answer it."""
    branch = runs.get_branch(connection, node.branch_id)
    return requests.add(
        connection,
        branch,
        kind="resume",
        payload=shortened(order),
        requested=requested,
        actor=who,
        reason=reason,
        step=_step(connection, branch),
        conditions=conditions,
        addressed=False,
    )


def _step(connection: Connection, branch: Branch) -> int | None:
    return segments.get(connection, branch.segment_id).step if branch.segment_id else None
