"""The API of deleting: into the trash, out of it again, and for good. It writes no markup."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from branchtrack import control
from branchtrack.analysis import payloads_trash
from branchtrack.control import deletion
from branchtrack.db.deletion import trash
from branchtrack.errors import InvalidInput
from branchtrack.web.access.guards import actor
from branchtrack.web.services import services

blueprint = Blueprint("api_trash", __name__, url_prefix="/api/v1")
_YES = {"": False, "0": False, "false": False, "1": True, "true": True}


@blueprint.delete("/runs/<run>")
def delete_run(run: str) -> Response:
    """Move a run to the trash; return what went."""
    return _delete(run)


@blueprint.delete("/runs/<run>/branches/<branch>")
def delete_branch(run: str, branch: str) -> Response:
    """Move a branch to the trash, with ``?with_children=1`` those that grew from it too."""
    return _delete(f"{run}/{branch}")


@blueprint.get("/trash")
def list_trash() -> Response:
    """Return what lies in the trash, the latest deleted first."""
    with services().database.read() as connection:
        entries = trash.entries(connection)
    return jsonify([payloads_trash.entry(entry, trash.due(entry)) for entry in entries])


@blueprint.post("/trash/<entry>/restore")
def restore(entry: str) -> Response:
    """Take an entry out of the trash; return what came back."""
    reason = request.args.get("reason", "")
    done = control.restore(services().database, entry, actor=actor(), reason=reason)
    return jsonify(payloads_trash.deletion(done.name, done.branches, done.nodes))


@blueprint.delete("/trash/<entry>")
def purge(entry: str) -> Response:
    """Remove an entry of the trash for good, and return it; the next sweep frees its bytes."""
    with services().database.read() as connection:
        chosen = deletion.find(connection, entry)
    deletion.purge(services().database, chosen, actor=actor())
    return jsonify(payloads_trash.entry(chosen, trash.due(chosen)))


def _delete(ref: str) -> Response:
    text = request.args.get("with_children", "")
    if text not in _YES:
        raise InvalidInput("with_children", text, "true, false")
    done = control.delete(
        services().database,
        ref,
        actor=actor(),
        with_children=_YES[text],
        reason=request.args.get("reason", ""),
    )
    return jsonify(payloads_trash.deletion(done.name, done.branches, done.nodes))
