"""The API of tokens, for administrators: create, list, revoke. A secret is returned once."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify

from branchtrack.analysis import payloads_steering
from branchtrack.core import actors
from branchtrack.db import tokens
from branchtrack.errors import InvalidInput
from branchtrack.web.access.guards import actor
from branchtrack.web.input.json_body import fields, optional_text
from branchtrack.web.services import services

blueprint = Blueprint("api_tokens", __name__, url_prefix="/api/v1/tokens")


@blueprint.before_request
def _for_administrators() -> None:
    actors.check(actor(), "tokens")


@blueprint.get("")
def list_tokens() -> Response:
    """Return every token, without its secret."""
    with services().database.read() as connection:
        return jsonify([payloads_steering.token(token) for token in tokens.list_all(connection)])


@blueprint.post("")
def create() -> tuple[Response, int, dict[str, str]]:
    """Create a token, and return it with its ``secret``, which is never returned again."""
    body = fields("name", "role", "only", "max_per_1000_steps")
    only, limit = body.get("only"), body.get("max_per_1000_steps")
    _check_kinds(only, limit)
    with services().database.transaction() as connection:
        token, secret = tokens.create(
            connection,
            body.get("name", ""),
            optional_text(body, "role", ""),
            created_by=actor().label,
            only=only,
            limit=limit,
        )
    return (
        jsonify({**payloads_steering.token(token), "secret": secret}),
        201,
        {"Cache-Control": "no-store"},
    )


@blueprint.delete("/<name>")
def revoke(name: str) -> Response:
    """Revoke a token, and return it."""
    with services().database.transaction() as connection:
        return jsonify(payloads_steering.token(tokens.revoke(connection, name)))


def _check_kinds(only: Any, limit: Any) -> None:
    if only is not None and not (
        isinstance(only, list) and all(isinstance(name, str) for name in only)
    ):
        raise InvalidInput("only", only, "a list of names of settings and actions")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int)):
        raise InvalidInput("max_per_1000_steps", limit, "a whole number of at least 1")
