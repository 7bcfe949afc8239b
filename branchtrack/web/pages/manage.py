"""What people call a run or a branch, whether it is archived, and its deletion."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Blueprint, Response, redirect, request, url_for
from sqlalchemy import Connection
from werkzeug.wrappers import Response as AnyResponse

from branchtrack import control
from branchtrack.control import deletion
from branchtrack.control.deletion import Deletion
from branchtrack.core.records import Branch, Run
from branchtrack.db import runs
from branchtrack.errors import InvalidInput
from branchtrack.web.access.guards import actor
from branchtrack.web.rendering import respond
from branchtrack.web.services import services

blueprint = Blueprint("manage", __name__)
FIELDS = ("name", "tags", "notes", "archived")


@blueprint.get("/runs/<run>/manage")
@blueprint.get("/runs/<run>/branches/<branch>/manage")
def form(run: str, branch: str | None = None) -> Response:
    """Return the page of a run, or of a branch."""
    return _render(run, branch, {})


@blueprint.post("/runs/<run>/manage")
@blueprint.post("/runs/<run>/branches/<branch>/manage")
def change(run: str, branch: str | None = None) -> AnyResponse:
    """Change names, tags, notes and the archive as the form has them."""
    submitted = request.form
    try:
        for field, text in submitted.items():
            if field not in FIELDS:
                raise InvalidInput(field, text, ", ".join(FIELDS))
        name = _change(run, branch, submitted)
    except InvalidInput as error:
        return _render(run, branch, submitted, error)
    if branch is None:
        return redirect(url_for("manage.form", run=name), 303)
    return redirect(url_for("manage.form", run=run, branch=name), 303)


@blueprint.post("/runs/<run>/delete")
@blueprint.post("/runs/<run>/branches/<branch>/delete")
def delete(run: str, branch: str | None = None) -> AnyResponse:
    """Move the run or the branch to the trash."""
    submitted = request.form
    try:
        control.delete(
            services().database,
            _ref(run, branch),
            actor=actor(),
            with_children=bool(submitted.get("with_children")),
            reason=submitted.get("reason", ""),
        )
    except InvalidInput as error:
        return _render(run, branch, submitted, error)
    target = url_for("tree.show", run=run) if branch else url_for("trash.index")
    return redirect(target, 303)


def _change(run: str, branch: str | None, submitted: Mapping[str, str]) -> str:
    """Write the labels of the form; return the name that the item has then."""
    with services().database.read() as connection:
        item = _find(connection, run, branch)
    tags = submitted.get("tags", "").replace(",", " ").split()
    before = item.tags or []
    changed = control.label(
        services().database,
        _ref(run, branch),
        actor=actor(),
        name=submitted.get("name", item.name),
        add=[tag for tag in tags if tag not in before],
        remove=[tag for tag in before if tag not in tags],
        notes=submitted.get("notes", "").replace("\r\n", "\n"),
        archived=bool(submitted.get("archived")),
    )
    assert isinstance(changed, Run | Branch)
    return changed.name


def _render(
    run: str, branch: str | None, submitted: Mapping[str, str], error: InvalidInput | None = None
) -> Response:
    with services().database.read() as connection:
        item = _find(connection, run, branch)
        planned = _planned(connection, item)
    is_changed = bool(submitted) and "name" in submitted
    return respond(
        "manage/index.html",
        200 if error is None else 422,
        run=run,
        branch=branch,
        item=item,
        branches=[] if planned is None or branch else planned.branches,
        planned=planned,
        error=error,
        entered={
            "name": submitted.get("name", item.name),
            "tags": submitted.get("tags", " ".join(item.tags or [])),
            "notes": submitted.get("notes", item.notes or ""),
            "archived": bool(submitted.get("archived")) if is_changed else item.archived_at,
        },
    )


def _planned(connection: Connection, item: Run | Branch) -> Deletion | None:
    """Return what a deletion would take along; None for what cannot be deleted."""
    try:
        return deletion.plan_of(connection, item)
    except InvalidInput:
        return None


def _find(connection: Connection, run: str, branch: str | None) -> Run | Branch:
    if branch is None:
        return runs.find_run(connection, run)
    return runs.find_branch(connection, f"{run}/{branch}")


def _ref(run: str, branch: str | None) -> str:
    return run if branch is None else f"{run}/{branch}"
