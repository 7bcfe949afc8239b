"""The theme switch, the switch of the keys, and the icon, which surround every page."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Blueprint, Response, make_response, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from branchtrack.errors import InvalidInput
from branchtrack.web.input.query import own_path
from branchtrack.web.rendering import KEYS, THEMES

blueprint = Blueprint("theme", __name__)
_YEAR = 365 * 86400


@blueprint.post("/theme")
def choose() -> AnyResponse:
    """Remember the theme in a cookie, so that the server renders it without a flash."""
    return _remember("theme", THEMES)


@blueprint.post("/keys")
def switch_keys() -> AnyResponse:
    """Remember in a cookie whether single keys do something; some people type by voice."""
    return _remember("keys", KEYS)


def _remember(name: str, allowed: Sequence[str]) -> AnyResponse:
    chosen = request.form.get(name, "")
    if chosen not in allowed:
        raise InvalidInput(name, chosen, ", ".join(allowed))
    response = redirect(own_path(request.form.get("next", request.script_root + "/")), 303)
    response.set_cookie(
        name,
        chosen,
        max_age=_YEAR,
        samesite="Lax",
        httponly=True,
        secure=request.is_secure,
        path=request.script_root or "/",
    )
    return response


@blueprint.get("/icon.svg")
def icon() -> Response:
    """Return the icon that browsers show on the tab."""
    response = make_response(render_template("icon.svg"))
    response.mimetype = "image/svg+xml"
    response.headers["Cache-Control"] = "public, max-age=86400"
    return response
