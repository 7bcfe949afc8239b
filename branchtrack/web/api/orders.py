"""The API for orders: one branch from a node, or several by lists, a grid, or several nodes.

Every order goes through `control`, as from the shell and the pages. It writes no markup.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify

from branchtrack import control
from branchtrack.analysis import payloads_requests
from branchtrack.errors import InvalidInput
from branchtrack.web.access.guards import actor
from branchtrack.web.input.json_body import fields, optional_text
from branchtrack.web.services import services

blueprint = Blueprint("api_orders", __name__, url_prefix="/api/v1")
#: When the processes of an order start, and whether under other code.
_TURN = ("priority", "labels", "retries", "allow_code_change")
_FIELDS = (
    "settings",
    "grid",
    "nodes",
    "name",
    "group",
    "mode",
    "reason",
    "without_change",
    "dry_run",
    *_TURN,
)


@blueprint.post("/nodes/<node_id>/resume")
def resume(node_id: str) -> tuple[Response, int]:
    """Order a launch from a node: 202 with the launch, or with a list if there are several.

    With ``dry_run`` nothing is ordered: 200 with what would be.
    """
    body = fields(*_FIELDS)
    order, reason = _order(node_id, body), optional_text(body, "reason", "")
    database, store = services().database, services().store
    if _flag(body, "dry_run"):
        preview = control.preview_launches(database, store, order, actor=actor(), reason=reason)
        return jsonify(preview), 200
    launches = control.create_launches(
        database, store, order, actor=actor(), reason=reason, **_turn(body)
    )
    with database.read() as connection:
        answers = [payloads_requests.launch(connection, launch) for launch in launches]
    return jsonify(answers if len(answers) > 1 else answers[0]), 202


@blueprint.post("/runs/<run>/branches/<branch>/continue")
def continue_branch(run: str, branch: str) -> tuple[Response, int]:
    """Order a launch that goes on in a branch: 202 with the launch."""
    body = fields("settings", "reason", *_TURN)
    launch = control.continue_branch(
        services().database,
        services().store,
        f"{run}/{branch}",
        actor=actor(),
        settings=_mapping(body, "settings"),
        reason=optional_text(body, "reason", ""),
        **_turn(body),
    )
    with services().database.read() as connection:
        return jsonify(payloads_requests.launch(connection, launch)), 202


def _turn(body: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that say when processes start, and whether under other code.

    Raises:
        InvalidInput: a field has the wrong type.
    """
    labels = body.get("labels")
    if labels is not None and not isinstance(labels, list):
        raise InvalidInput("labels", labels, "a list of names")
    return {
        "priority": body.get("priority"),
        "labels": labels,
        "retries": body.get("retries", 0),
        "allow_code_change": _flag(body, "allow_code_change"),
    }


def _order(node_id: str, body: dict[str, Any]) -> control.ForkOrder:
    """Return the order that a body describes.

    Raises:
        InvalidInput: a field has the wrong type.
    """
    more = body.get("nodes") or []
    if not isinstance(more, list) or not all(isinstance(ref, str) for ref in more):
        raise InvalidInput("nodes", more, "a list of nodes")
    return control.ForkOrder(
        [node_id, *more],
        _mapping(body, "settings"),
        _mapping(body, "grid"),
        name=body.get("name"),
        group=body.get("group"),
        mode=optional_text(body, "mode", "") if "mode" in body else None,
        without_change=_flag(body, "without_change"),
    )


def _mapping(body: dict[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    if value is not None and not isinstance(value, dict):
        raise InvalidInput(name, value, "values by name")
    return value or {}


def _flag(body: dict[str, Any], name: str) -> bool:
    value = body.get(name, False)
    if not isinstance(value, bool):
        raise InvalidInput(name, value, "true or false")
    return value
