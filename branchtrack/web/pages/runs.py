"""The table of runs: filtered, sorted and grouped as its address says; and saved views of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flask import Blueprint, Response, redirect, request, url_for
from markupsafe import Markup
from sqlalchemy import Connection
from werkzeug.wrappers import Response as AnyResponse

from branchtrack.control.organising import views
from branchtrack.core.queries.columns import FACTS, Column, Fact
from branchtrack.core.queries.terms import FUNCTIONS, OPERATORS, RUN_FILTERS, Name
from branchtrack.db.browsing import run_search, saved_views
from branchtrack.db.browsing.run_search import RunMatches
from branchtrack.db.browsing.saved_views import SavedView
from branchtrack.db.views import run_list
from branchtrack.db.views.run_list import RunDetails
from branchtrack.errors import InvalidInput
from branchtrack.web.access.guards import actor
from branchtrack.web.charts import run_courses
from branchtrack.web.input.query import page_number
from branchtrack.web.pages import manage
from branchtrack.web.rendering import now, respond
from branchtrack.web.services import services
from branchtrack.web.view import run_rows
from branchtrack.web.view.run_rows import Choices

blueprint = Blueprint("runs", __name__)
PAGE = 50
_TEMPLATE = "runs/index.html"


@blueprint.get("/")
@blueprint.get("/runs")
def index() -> AnyResponse:
    """Return a page of the runs that the query matches, the best held-out value first."""
    if name := request.args.get("view"):
        return _redirect_to_view(name)
    choices = _choices(request.args, page_number())
    try:
        selection = choices.selection()
    except InvalidInput as error:
        return _refused(choices, error)
    with services().database.read() as connection:
        offset = PAGE * (choices.page - 1)
        matches = run_search.search(connection, selection, now(), PAGE, offset)
        word = run_rows.word_of(choices, matches, int(now() // 60))
        if _has_shown(word):
            return Response(status=204)
        shown = run_rows.shown_columns(choices, selection, matches)
        details, sparks = _read(connection, matches, shown)
        undoable = manage.undoable(connection)
    rows = run_rows.rows(selection, matches, shown, details, sparks, now())
    return _page(
        choices,
        matches.views,
        rows=rows,
        heads=run_rows.heads(choices, selection, shown),
        total=matches.total,
        archived_count=matches.hidden,
        hints=matches.hints,
        word=word,
        first=offset + 1,
        last_page=max(1, -(-matches.total // PAGE)),
        undoable=undoable,
    )


def _redirect_to_view(name: str) -> AnyResponse:
    """Redirect to what a saved view shows, but for what the address says itself."""
    with services().database.read() as connection:
        view = saved_views.find(connection, name)
    own = {part: request.args[part] for part in saved_views.PARTS if request.args.get(part)}
    return redirect(_shown_by(view).address(**own), 303)


def _read(
    connection: Connection, matches: RunMatches, shown: Sequence[Column]
) -> tuple[dict[str, RunDetails], dict[str, Markup]]:
    """Return the details and the small curves of the runs on a page, with two statements."""
    records = [match.run for match in matches.runs]
    if not records:
        return {}, {}
    with_settings = any(isinstance(column, Name) for column in shown)
    ids = [run.id for run in records]
    details = run_list.details(connection, ids, with_settings=with_settings)
    if Fact("trend") not in shown:
        return details, {}
    starts = {run_id: known.starts for run_id, known in details.items()}
    return details, run_courses.sparks(connection, records, starts)


@blueprint.post("/runs/views")
def save_view() -> AnyResponse:
    """Save what the list shows under a name, and show it."""
    submitted = request.form
    choices = _choices(submitted, 1)
    try:
        views.save(services().database, submitted.get("name", ""), vars_of(choices), actor=actor())
    except InvalidInput as error:
        return _refused(choices, error)
    return redirect(choices.address(), 303)


@blueprint.post("/runs/views/remove")
def remove_view() -> AnyResponse:
    """Remove a saved view."""
    views.remove(services().database, request.form.get("name", ""), actor=actor())
    return redirect(url_for("runs.index"), 303)


def vars_of(choices: Choices) -> dict[str, str]:
    """Return the parts of the list's address."""
    return {"q": choices.q, "sort": choices.sort, "by": choices.by, "columns": choices.columns}


def _choices(texts: Mapping[str, str], page: int) -> Choices:
    parts = {name: texts.get(name, "").strip() for name in saved_views.PARTS}
    return Choices(**parts, page=page)


def _has_shown(word: str) -> bool:
    """Return whether this is a list's question for news, and there are none."""
    return request.headers.get("HX-Request") == "true" and request.args.get("seen") == word


def _refused(choices: Choices, error: InvalidInput) -> Response:
    with services().database.read() as connection:
        saved = saved_views.every(connection)
    return _page(choices, saved, 422, error=error, rows=[], total=0)


def _page(
    choices: Choices, saved: Sequence[SavedView], status: int = 200, **context: object
) -> Response:
    current = [view.name for view in saved if vars_of(_shown_by(view)) == vars_of(choices)]
    return respond(
        _TEMPLATE,
        status,
        choices=choices,
        parts={name: text for name, text in vars_of(choices).items() if text},
        views=[(view.name, _shown_by(view).address()) for view in saved],
        current=current[0] if current else None,
        offered=choices.columns or run_rows.COLUMNS,
        allowed={
            "filters": [f"{word}:" for word in RUN_FILTERS],
            "functions": [f"{name}()" for name in FUNCTIONS],
            "operators": OPERATORS,
            "facts": list(FACTS),
        },
        **context,
    )


def _shown_by(view: SavedView) -> Choices:
    texts = saved_views.parts(view.address)
    q, sort, by, columns = (texts.get(word, "") for word in ("query", "sort", "by", "columns"))
    return Choices(q, sort, by, columns)
