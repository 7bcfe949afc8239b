"""The orders of tokens as requests: kept as such, so that a token's limit counts them.

Whoever asks without a token leaves the launch in the record, and nothing here.
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
    """Refuse one order more than a token may give.

    Raises:
        RateLimited: with the limit.
    """
    if who.limit is not None and who.token_id is not None:
        actors.check_limit(who, requests.made_lately(connection, node.run_id, who.token_id))


def receive(
    connection: Connection,
    node: Node,
    order: Mapping[str, Any],
    overrides: dict[str, Any],
    who: Actor,
    reason: str,
) -> Request | None:
    """The order of a token as an accepted request; None where there is no token.

    ``order``: ``node mode name settings``. ``overrides`` are the settings, validated.

    Raises:
        RateLimited: others came first while the node was looked at.
    """
    if who.token_id is None:
        return None
    audit.lock(connection, node.run_id)
    check_limit(connection, node, who)
    request = _add(connection, node, order, {**order, "settings": overrides}, who, reason)
    return requests.move(connection, request.id, "accepted", actor=who.label)


def finish(connection: Connection, request: Request, node: Node, launch: Launch) -> None:
    """Say that the launch is there, which is all that was asked for; it has a life of its own."""
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
    """Keep the order of a token that came to nothing, with the error."""
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


def _add(
    connection: Connection,
    node: Node,
    order: Mapping[str, Any],
    requested: dict[str, Any],
    who: Actor,
    reason: str,
) -> Request:
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
    )


def _step(connection: Connection, branch: Branch) -> int | None:
    return segments.get(connection, branch.segment_id).step if branch.segment_id else None
