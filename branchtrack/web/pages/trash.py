"""The trash: what was deleted, by whom, and buttons that bring it back or remove it for good."""

from __future__ import annotations

from flask import Blueprint, Response, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from branchtrack import control
from branchtrack.control import deletion
from branchtrack.core import formats
from branchtrack.db.deletion import trash
from branchtrack.web.access.guards import actor
from branchtrack.web.input import query
from branchtrack.web.rendering import respond
from branchtrack.web.services import services

blueprint = Blueprint("trash", __name__)
_ENTRIES = 50


@blueprint.get("/trash")
def index() -> Response:
    """Return a page of the entries, the latest deleted first."""
    with services().database.read() as connection:
        entries = trash.entries(connection)
    page = query.page(entries, _ENTRIES)
    return respond(
        "trash/index.html",
        entries=[(entry, formats.timestamp(trash.due(entry))) for entry in page.items],
        total=len(entries),
        page=page,
        days=f"{trash.trash_days():g}",
    )


@blueprint.post("/trash/<entry>/restore")
def restore(entry: str) -> AnyResponse:
    """Bring an entry back, and show its run."""
    reason = request.form.get("reason", "")
    done = control.restore(services().database, entry, actor=actor(), reason=reason)
    return redirect(url_for("tree.show", run=done.run.name), 303)


@blueprint.post("/trash/<entry>/purge")
def purge(entry: str) -> AnyResponse:
    """Remove an entry for good."""
    with services().database.read() as connection:
        chosen = deletion.find(connection, entry)
    deletion.purge(services().database, chosen, actor=actor())
    return redirect(url_for("trash.index"), 303)
