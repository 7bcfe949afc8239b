"""The API for names, tags, notes and the archive. It writes no markup."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify

from branchtrack import control
from branchtrack.analysis import payloads
from branchtrack.errors import InvalidInput
from branchtrack.web.access.guards import actor
from branchtrack.web.input.json_body import fields, optional_text
from branchtrack.web.services import services

blueprint = Blueprint("api_labels", __name__, url_prefix="/api/v1")
_LISTS = ("add_tags", "remove_tags")


@blueprint.patch("/runs/<run>")
def change_run(run: str) -> Response:
    """Change the labels of a run, and return them."""
    return _change(run)


@blueprint.patch("/runs/<run>/branches/<branch>")
def change_branch(run: str, branch: str) -> Response:
    """Change the labels of a branch, and return them."""
    return _change(f"{run}/{branch}")


@blueprint.patch("/nodes/<node_id>")
def change_node(node_id: str) -> Response:
    """Change the tags of a node, and return them."""
    return _change(node_id)


def _change(ref: str) -> Response:
    body = fields("name", "notes", "archived", "reason", *_LISTS)
    archived = body.get("archived")
    if archived is not None and not isinstance(archived, bool):
        raise InvalidInput("archived", archived, "true or false")
    texts = {name: optional_text(body, name, "") for name in ("name", "notes") if name in body}
    added, removed = (_tags(body, name) for name in _LISTS)
    item = control.label(
        services().database,
        ref,
        actor=actor(),
        add=added,
        remove=removed,
        archived=archived,
        reason=optional_text(body, "reason", ""),
        **texts,
    )
    return jsonify(payloads.labels(item))


def _tags(body: dict[str, Any], name: str) -> list[str]:
    tags = body.get(name) or []
    if not isinstance(tags, list):
        raise InvalidInput(name, tags, "a list of names")
    return tags
