"""What people call runs and branches, the archive, pins and deletion; and a change undone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlencode

from flask import Blueprint, Response, redirect, request, url_for
from sqlalchemy import Connection
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response as AnyResponse

from branchtrack import control
from branchtrack.control import deletion, labels
from branchtrack.control.deletion import Deletion
from branchtrack.control.organising import undoing
from branchtrack.core import actors
from branchtrack.core.records import Branch, Run
from branchtrack.db import runs
from branchtrack.db.views import run_list
from branchtrack.errors import InvalidInput, NotFound
from branchtrack.web.access.guards import actor
from branchtrack.web.input.query import own_path
from branchtrack.web.rendering import respond
from branchtrack.web.services import services

blueprint = Blueprint("manage", __name__)
FIELDS = ("name", "tags", "notes", "archived", "pinned")
#: What the form showed of these when it was opened, so that what others changed since stays.
SHOWN = {f"was_{field}": field for field in FIELDS}
#: Labels of which there is one text: what is typed does not replace what another one has written.
_SINGLE = {
    "name": ("The name has", "a name that was chosen knowing this one"),
    "notes": ("The notes have", "notes that were written knowing these"),
}
#: The id of what the form was opened for, which may be called otherwise by now.
ID = "id"
#: What is done to several runs at once, and the labels that it gives them.
DEEDS: dict[str, dict[str, Any]] = {
    "pin": {"pinned": True},
    "unpin": {"pinned": False},
    "archive": {"archived": True},
    "unarchive": {"archived": False},
    "tag": {},
    "untag": {},
}
_MOST_RUNS = 500


@blueprint.get("/runs/<run>/manage")
@blueprint.get("/runs/<run>/branches/<branch>/manage")
def form(run: str, branch: str | None = None) -> Response:
    """Return the page of a run, or of a branch."""
    with services().database.read() as connection:
        item = _find(connection, run, branch, {})
    return _render(item, {})


@blueprint.post("/runs/<run>/manage")
@blueprint.post("/runs/<run>/branches/<branch>/manage")
def change(run: str, branch: str | None = None) -> AnyResponse:
    """Change names, tags, notes and the archive as the form has them."""
    submitted = request.form
    with services().database.read() as connection:
        item = _find(connection, run, branch, submitted)
    try:
        for field, text in submitted.items():
            if field not in (*FIELDS, *SHOWN, ID):
                raise InvalidInput(field, text, ", ".join(FIELDS))
        with _recorded() as change:
            labelled = _change(item, submitted)
    except InvalidInput as error:
        return _render(item, submitted, error)
    return redirect(_with(_form_of([labelled]), change), 303)


@blueprint.post("/runs/<run>/delete")
@blueprint.post("/runs/<run>/branches/<branch>/delete")
def delete(run: str, branch: str | None = None) -> AnyResponse:
    """Move the run or the branch to the trash."""
    submitted = request.form
    with services().database.read() as connection:
        item = _find(connection, run, branch, submitted)
        run = runs.get_run(connection, item.run_id).name if isinstance(item, Branch) else item.name
    try:
        with _recorded() as change:
            control.delete(
                services().database,
                _ref(item),
                actor=actor(),
                with_children=bool(submitted.get("with_children")),
                reason=submitted.get("reason", ""),
            )
    except InvalidInput as error:
        return _render(item, submitted, error)
    path = url_for("manage.form", run=run) if branch else url_for("runs.index")
    return redirect(_with(path, change), 303)


@blueprint.post("/runs/organise")
def organise() -> AnyResponse:
    """Tag, pin or archive the runs that were ticked; those to be deleted are shown first."""
    actors.check(actor(), "label", ["label"])
    submitted = request.form
    chosen, deed = _chosen(submitted), submitted.get("deed", "")
    if not chosen:
        raise InvalidInput("run", "", "at least one run: tick the box before its name")
    if deed == "delete":
        return redirect(url_for("manage.confirm", run=chosen), 303)
    if deed not in DEEDS:
        raise InvalidInput("deed", deed, ", ".join((*DEEDS, "delete")))
    tags = submitted.get("tags", "").replace(",", " ").split()
    if deed in ("tag", "untag") and not tags:
        raise InvalidInput("tags", "", "at least one tag")
    with _recorded() as change:
        labels.label_runs(
            services().database,
            chosen,
            actor=actor(),
            add=tags if deed == "tag" else (),
            remove=tags if deed == "untag" else (),
            **DEEDS[deed],
        )
    return redirect(_with(_next(submitted), change), 303)


@blueprint.get("/runs/delete")
def confirm() -> Response:
    """Show what the deletion of several runs would take along."""
    return _confirm(_chosen(request.args), None)


@blueprint.post("/runs/delete")
def delete_several() -> AnyResponse:
    """Move several runs to the trash; if one cannot go, it and those after it stay."""
    actors.check(actor(), "delete", ["delete"])
    submitted = request.form
    chosen = _chosen(submitted)
    with services().database.read() as connection:
        for run in chosen:
            runs.find_run(connection, run)
    with _recorded() as change:
        for number, run in enumerate(chosen):
            try:
                reason = submitted.get("reason", "")
                control.delete(services().database, run, actor=actor(), reason=reason)
            except InvalidInput as error:
                return _confirm(chosen[number:], error)
    return redirect(_with(url_for("runs.index"), change), 303)


def _chosen(submitted: MultiDict[str, str]) -> list[str]:
    """Return the runs that were ticked, each once.

    Raises:
        InvalidInput: they are too many; those beyond the limit would be left out.
    """
    chosen = list(dict.fromkeys(submitted.getlist("run")))
    if len(chosen) > _MOST_RUNS:
        what = f"{len(chosen):,} runs are chosen."
        raise InvalidInput("run", chosen[0], f"at most {_MOST_RUNS} runs at once", what=what)
    return chosen


@blueprint.post("/undo")
def undo() -> AnyResponse:
    """Take back the change that the page before offered to undo."""
    actors.check(actor(), "label", ["label"])
    change = request.form.get("change", "")
    items = undoing.undo(services().database, change, actor=actor())
    # The address of a page may have had the name that was taken back.
    path = _next(request.form) if request.form.get("next") else _form_of(items)
    return redirect(path, 303)


def undoable(connection: Connection, run_id: str | None = None) -> str:
    """Return the change that the address offers to undo; empty if its reader did not make it."""
    change = request.args.get("undo", "")
    is_offered = change and undoing.is_offered(connection, change, actor(), run_id)
    return change if is_offered else ""


def _confirm(chosen: Sequence[str], error: InvalidInput | None) -> Response:
    with services().database.read() as connection:
        planned = run_list.named(connection, chosen)
        counts = run_list.counts(connection, [run.id for run in planned])
    return respond(
        "manage/delete.html",
        200 if error is None else 422,
        planned=[(run, counts[run.id]) for run in planned],
        nodes=sum(counted.nodes for counted in counts.values()),
        error=error,
    )


@contextmanager
def _recorded() -> Iterator[dict[str, str]]:
    """Yield the argument of an address that offers to undo what is done meanwhile."""
    change: dict[str, str] = {}
    database = services().database
    with database.read() as connection:
        before = undoing.newest(connection)
    yield change
    with database.read() as connection:
        after = undoing.newest(connection)
    if after > before:
        change["undo"] = f"{before + 1}-{after}"


def _next(submitted: Mapping[str, str]) -> str:
    """Return the address that a form leads back to."""
    return own_path(submitted.get("next") or f"{request.script_root}/")


def _form_of(items: Sequence[Run | Branch]) -> str:
    """Return the address of the page of an item, or of the run if these are several branches."""
    item = items[0]
    if isinstance(item, Run):
        return url_for("manage.form", run=item.name)
    with services().database.read() as connection:
        run = runs.get_run(connection, item.run_id).name
    return url_for("manage.form", run=run, branch=item.name if len(items) == 1 else None)


def _with(path: str, change: Mapping[str, str]) -> str:
    """Return an address with another offer to undo."""
    address, _, query = path.partition("?")
    parts = [pair for pair in parse_qsl(query) if pair[0] != "undo"]
    return f"{address}?{urlencode([*parts, *change.items()])}" if parts or change else address


def _change(item: Run | Branch, submitted: Mapping[str, str]) -> Run | Branch:
    """Write what differs from what the form showed; return the item as it is then.

    Raises:
        InvalidInput: a label is none, or somebody else has changed name or notes as well.
    """
    entered = {name: text.replace("\r\n", "\n") for name, text in submitted.items()}
    now = _labels(item)
    shown = {field: entered.get(was, now[field]) for was, field in SHOWN.items()}
    typed = {**dict.fromkeys(shown, ""), "name": shown["name"], **entered}
    changed = {field: typed[field] for field in shown if typed[field] != shown[field]}
    for field, (subject, allowed) in _SINGLE.items():
        if field in changed and now[field] not in (shown[field], changed[field]):
            what = f"{subject} been changed since this page was opened: “{now[field]}”."
            raise InvalidInput(field, changed[field], allowed, what=what)
    tags, before = (each["tags"].replace(",", " ").split() for each in (shown | changed, shown))
    labelled = control.label(
        services().database,
        _ref(item),
        actor=actor(),
        name=changed.get("name"),
        add=[tag for tag in tags if tag not in before],
        remove=[tag for tag in before if tag not in tags],
        notes=changed.get("notes"),
        archived=_ticked(changed.get("archived")),
        pinned=_ticked(changed.get("pinned")),
    )
    assert isinstance(labelled, Run | Branch)
    return labelled


def _ticked(box: str | None) -> bool | None:
    return None if box is None else bool(box)


def _labels(item: Run | Branch) -> dict[str, str]:
    """Return the labels as the fields of the form have them."""
    return {
        "name": item.name,
        "tags": " ".join(item.tags or []),
        "notes": item.notes or "",
        "archived": "1" if item.archived_at else "",
        "pinned": "1" if item.pinned_at else "",
    }


def _render(
    item: Run | Branch, submitted: Mapping[str, str], error: InvalidInput | None = None
) -> Response:
    with services().database.read() as connection:
        planned = _planned(connection, item)
        if isinstance(item, Run):
            run = item
        else:
            run = planned.run if planned else runs.get_run(connection, item.run_id)
        change = undoable(connection, run.id)
    now = _labels(item)
    # Whoever was told of a name or notes that changed since has seen them.
    seen = "" if error is None else error.field
    shown = {
        field: now[field] if field == seen else submitted.get(was, now[field])
        for was, field in SHOWN.items()
    }
    if "name" in submitted:
        entered = {**dict.fromkeys(FIELDS, ""), **submitted}
    else:
        entered = now
    return respond(
        "manage/index.html",
        200 if error is None else 422,
        run=run.name,
        branch=item.name if isinstance(item, Branch) else None,
        item=item,
        branches=[] if planned is None or isinstance(item, Branch) else planned.branches,
        planned=planned,
        undoable=change,
        error=error,
        shown=shown,
        entered=entered,
    )


def _planned(connection: Connection, item: Run | Branch) -> Deletion | None:
    """Return what a deletion would take along; None for what cannot be deleted."""
    try:
        return deletion.plan_of(connection, item)
    except InvalidInput:
        return None


def _find(
    connection: Connection, run: str, branch: str | None, submitted: Mapping[str, str]
) -> Run | Branch:
    """Return what a form was opened for, also if it has another name now than in its address.

    Raises:
        NotFound: it is gone, or there is nothing of that name.
    """
    item_id, kind = submitted.get(ID), "run" if branch is None else "branch"
    item: Run | Branch
    if branch is None:
        item = runs.find_run(connection, item_id or run)
    else:
        item = runs.find_branch(connection, item_id or f"{run}/{branch}")
    if item_id and item.id != item_id:
        raise NotFound(kind, item_id)
    return item


def _ref(item: Run | Branch) -> str:
    return item.id if isinstance(item, Run) else f"{item.run_id}/{item.name}"
