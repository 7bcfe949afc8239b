"""The API of deleting: into the trash, out of it again, and for good. It writes no markup."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from branchtrack import control
from branchtrack.analysis import payloads_trash
from branchtrack.control import deletion
from branchtrack.db.deletion import trash
from branchtrack.schemas import trash as models
from branchtrack.web.access.guards import actor
from branchtrack.web.api.contract import documented
from branchtrack.web.api.paging import page
from branchtrack.web.services import services

blueprint = Blueprint("api_trash", __name__, url_prefix="/api/v1")


@blueprint.delete("/runs/<run>")
@documented(models.Deletion, query=models.DeleteQuery, deed="delete")
def delete_run(run: str, query: models.DeleteQuery) -> Any:
    """Move a run to the trash; return what went."""
    return _delete(run, **query.model_dump())


@blueprint.delete("/runs/<run>/branches/<branch>")
@documented(models.Deletion, query=models.DeleteBranchQuery, deed="delete")
def delete_branch(run: str, branch: str, query: models.DeleteBranchQuery) -> Any:
    """Move a branch to the trash, with ``with_children`` those that grew from it too."""
    return _delete(f"{run}/{branch}", **query.model_dump())


@blueprint.get("/trash")
@documented(models.TrashPage, query=models.TrashQuery)
def list_trash(query: models.TrashQuery) -> Any:
    """Return what lies in the trash, the latest deleted first."""
    with services().database.read() as connection:
        entries = trash.entries(connection)
    rows = [payloads_trash.entry(entry, trash.due(entry)) for entry in entries]
    return page("entries", rows, "id", query.limit, before=query.before)


@blueprint.post("/trash/<entry>/restore")
@documented(models.Deletion, query=models.DeleteQuery, deed="delete")
def restore(entry: str, query: models.DeleteQuery) -> Any:
    """Take an entry out of the trash; return what came back."""
    done = control.restore(services().database, entry, actor=actor(), reason=query.reason)
    return payloads_trash.deletion(done.name, done.branches, done.nodes)


@blueprint.delete("/trash/<entry>")
@documented(models.Entry, deed="purge")
def purge(entry: str) -> Any:
    """Remove an entry of the trash for good, and return it; the next sweep frees its bytes."""
    with services().database.read() as connection:
        chosen = deletion.find(connection, entry)
    deletion.purge(services().database, chosen, actor=actor())
    return payloads_trash.entry(chosen, trash.due(chosen))


def _delete(ref: str, **facts: Any) -> dict[str, Any]:
    done = control.delete(services().database, ref, actor=actor(), **facts)
    return payloads_trash.deletion(done.name, done.branches, done.nodes)
