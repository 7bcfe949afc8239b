"""Who asks: their name, role, what they may do, how they are signed in, and the way out."""

from __future__ import annotations

from flask import Blueprint, Response, g, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from branchtrack.core import actors
from branchtrack.web.access import identity
from branchtrack.web.access.guards import actor
from branchtrack.web.rendering import respond

blueprint = Blueprint("me", __name__)
#: What each right means, in the order of the page.
DEEDS = {
    "request": "steer trainings: change settings, pause, stop, and the other actions",
    "launch": "start trainings from nodes",
    "cancel": "cancel requests and launches",
    "label": "rename, tag, pin and archive; mark alerts as seen",
    "retain": "set policies of storage, sweep, and pin nodes",
    "delete": "delete runs and branches into the trash",
    "decide": "decide on proposals, and order agents",
    "purge": "purge what is in the trash",
    "tokens": "create and revoke tokens",
    "launchers": "make and remove profiles of clusters",
}


@blueprint.get("/me")
def show() -> Response:
    """Return the page."""
    who = actor()
    may = actors.deeds(who.role)
    is_by_cookie = identity.cookie_name() in request.cookies and bool(g.holder)
    return respond(
        "account/me.html",
        me=who,
        deeds=[(about, deed in may) for deed, about in DEEDS.items()],
        window=actors.WINDOW,
        is_by_cookie=is_by_cookie,
        is_open=not g.holder,
    )


@blueprint.post("/me/sign-out")
def sign_out() -> AnyResponse:
    """Forget the cookie; the token that it stood for stays valid."""
    answer = redirect(url_for("runs.index"), 303)
    answer.delete_cookie(identity.cookie_name(), path=request.script_root or "/")
    return answer
