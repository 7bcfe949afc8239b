"""Tokens, for administrators: a list, a form for a new one, and buttons that revoke.

A secret is in the answer to its form alone: no address and no other page ever has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from branchtrack.core import actors
from branchtrack.core.actors import ROLES
from branchtrack.db import tokens
from branchtrack.errors import InvalidInput
from branchtrack.web.access.guards import actor
from branchtrack.web.rendering import respond
from branchtrack.web.services import services

blueprint = Blueprint("tokens", __name__)
_FIELDS = ("name", "role", "only", "max_per_1000_steps")


@blueprint.get("/tokens")
def index() -> Response:
    """Return the page."""
    actors.check(actor(), "tokens")
    return _render({})


@blueprint.post("/tokens")
def create() -> Response:
    """Create a token, and show its secret; not a redirect, as no address may have the secret."""
    actors.check(actor(), "tokens")
    form = request.form
    try:
        for field in form:
            if field not in _FIELDS:
                raise InvalidInput(field, form[field], ", ".join(_FIELDS))
        with services().database.transaction() as connection:
            token, secret = tokens.create(
                connection,
                form.get("name", "").strip(),
                form.get("role", ""),
                created_by=actor().label,
                only=form["only"].split(",") if form.get("only", "").strip() else None,
                limit=_limit(form.get("max_per_1000_steps", "").strip()),
            )
    except InvalidInput as error:
        return _render(form, 422, error=error)
    answer = _render({}, 201, made=token, secret=secret)
    answer.headers["Cache-Control"] = "no-store"
    return answer


@blueprint.post("/tokens/<name>/revoke")
def revoke(name: str) -> AnyResponse:
    """Revoke a token: it gives no access from now on."""
    actors.check(actor(), "tokens")
    with services().database.transaction() as connection:
        tokens.revoke(connection, name)
    return redirect(url_for("tokens.index", _anchor="list"), 303)


def _limit(text: str) -> int | None:
    try:
        return int(text) if text else None
    except ValueError:
        raise InvalidInput("max_per_1000_steps", text, "a whole number") from None


def _render(form: Mapping[str, str], status: int = 200, **more: Any) -> Response:
    with services().database.read() as connection:
        rows = tokens.list_all(connection)
    valid = [token for token in rows if token.revoked_at is None]
    revoked = [token for token in rows if token.revoked_at is not None]
    return respond(
        "account/tokens.html",
        status,
        tokens=[*valid, *revoked],
        roles=[(role, ROLE_WORDS[role]) for role in ROLES],
        form=form,
        window=actors.WINDOW,
        **more,
    )


#: What each role is for, beside its name.
ROLE_WORDS = {
    "viewer": "viewer: may look",
    "operator": "operator: may steer, launch, label, delete",
    "agent": "agent: may steer and launch, and has to say why",
    "admin": "admin: may do everything",
}
