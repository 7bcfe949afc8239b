"""The API of access: who asks, and for administrators tokens. A secret is returned once."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from branchtrack.analysis import payloads_steering
from branchtrack.core import actors
from branchtrack.db import tokens
from branchtrack.schemas import access as models
from branchtrack.schemas.bases import Selection
from branchtrack.web.access.guards import actor
from branchtrack.web.api.contract import documented
from branchtrack.web.api.paging import page
from branchtrack.web.services import services

blueprint = Blueprint("api_access", __name__, url_prefix="/api/v1")


@blueprint.get("/whoami")
@documented(models.Caller, query=Selection)
def whoami() -> Any:
    """Return who asks, and what its token is for."""
    who = actor()
    return {
        "actor": who.label,
        "role": who.role,
        "only": None if who.only is None else list(who.only),
        "max_per_1000_steps": who.limit,
        "may": actors.deeds(who.role),
    }


@blueprint.get("/tokens")
@documented(models.TokenPage, query=models.TokensQuery, deed="tokens")
def list_tokens(query: models.TokensQuery) -> Any:
    """Return tokens in order of creation, without their secrets."""
    with services().database.read() as connection:
        rows = [payloads_steering.token(token) for token in tokens.list_all(connection)]
    return page("tokens", rows, "name", query.limit, after=query.after)


@blueprint.post("/tokens")
@documented({201: models.NewToken}, body=models.TokenBody, deed="tokens")
def create(body: models.TokenBody) -> Any:
    """Create a token, and return it with its ``secret``, which is never returned again."""
    with services().database.transaction() as connection:
        token, secret = tokens.create(
            connection,
            body.name,
            body.role,
            created_by=actor().label,
            only=body.only,
            limit=body.max_per_1000_steps,
        )
    payload = {**payloads_steering.token(token), "secret": secret}
    return payload, 201, {"Cache-Control": "no-store"}


@blueprint.delete("/tokens/<name>")
@documented(models.Token, deed="tokens")
def revoke(name: str) -> Any:
    """Revoke a token, and return it."""
    with services().database.transaction() as connection:
        return payloads_steering.token(tokens.revoke(connection, name))
