"""The charts of a tree: what an address asks of them, and the points that they are made of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flask import Blueprint, Response, jsonify, request
from sqlalchemy import Connection

from branchtrack.analysis import courses, curves
from branchtrack.core.names import near
from branchtrack.db.views import course_series, metric_overview, tree_nodes, tree_outline
from branchtrack.db.views.chart_series import OWN, Metrics
from branchtrack.db.views.metric_overview import Overview
from branchtrack.db.views.tree_nodes import TreeNodes
from branchtrack.db.views.tree_outline import TreeSummary
from branchtrack.errors import InvalidInput, NotFound
from branchtrack.web import formats
from branchtrack.web.charts import axes, chart, plots, timeline, tree_chart, wall
from branchtrack.web.charts.chart import Chart
from branchtrack.web.charts.guides import steps_to_mark
from branchtrack.web.charts.wall import Curves, Look
from branchtrack.web.input import query
from branchtrack.web.pages import tree_address
from branchtrack.web.rendering import now, respond
from branchtrack.web.services import services
from branchtrack.web.svg import standalone
from branchtrack.web.view import branch_choice
from branchtrack.web.view.branch_choice import Rating
from branchtrack.web.view.tree import HELD_OUT, BranchView, TreeView

blueprint = Blueprint("wall", __name__)
#: Positions of all curves of a chart, for a table and for the script.
_IN_TABLE, _FOR_SCRIPT = 480, 1600
#: The metrics of charts for which none are named.
FOLLOWED = ("loss", *wall.USUAL)
#: Metrics that are suggested if no name is similar.
_SUGGESTED = 20


@blueprint.get("/runs/<run>/chart")
def data(run: str) -> Response:
    """Return the charts' values for the script that draws them."""
    return jsonify(charts=[drawn.as_json() for drawn in _charts(run, _FOR_SCRIPT)])


@blueprint.get("/runs/<run>/chart.svg")
def as_svg(run: str) -> Response:
    """Return the charts as a picture of its own."""
    charts = _charts(run, _FOR_SCRIPT)
    drawings = [
        (_title(drawn), plots.y_axis(drawn), plots.plot(drawn), drawn.height) for drawn in charts
    ]
    is_dark = query.choice("theme", ("light", "dark")) == "dark"
    answer = Response(standalone.stack(drawings, is_dark=is_dark), mimetype="image/svg+xml")
    return _named(answer, run, [drawn.metric for drawn in charts], "svg", inline=True)


@blueprint.get("/runs/<run>/chart/table")
def as_table(run: str) -> Response:
    """Return some values of the first chart as a table, for screen readers and everyone else."""
    first = _charts(run, _IN_TABLE)[:1]
    lines = first[0].lines if first else ()
    metric = first[0].metric if first else ""
    rows = chart.sampled(lines)
    return respond("charts/table.html", run=run, metric=metric, lines=lines, rows=rows)


@blueprint.get("/runs/<run>/chart.csv")
def as_csv(run: str) -> Response:
    """Return every point of the shown metrics and branches, inside the steps that are shown."""
    look, requested = read_look(), requested_metrics()
    with services().database.read() as connection:
        tree, branches, names = _shown(connection, run, look, requested)
        of_branches = {
            name: curves.branch_curves(
                connection, tree.run.id, [view.branch for view in branches], name
            )
            for name in names
        }
    table = formats.spreadsheet(
        ("metric", "branch", "step", "value", "time"), _rows(of_branches, look)
    )
    answer = Response(table, mimetype="text/csv")
    return _named(answer, tree.run.name, names, "csv", inline=False)


def _rows(of_branches: Mapping[str, Sequence[curves.Curve]], look: Look) -> Iterator[Sequence[Any]]:
    """Yield every point of the curves of each metric, inside the steps that are shown."""
    low, high = look.window
    for name, of_metric in of_branches.items():
        for curve in of_metric:
            part = curve.series.cut(-1 if low is None else low - 1, high)
            columns = (part.steps.tolist(), part.values.tolist(), part.times.tolist())
            yield from ((name, curve.branch.name, *row) for row in zip(*columns, strict=True))


def _charts(run: str, points: int) -> list[Chart]:
    look, requested = read_look(), requested_metrics()
    with services().database.read() as connection:
        tree, branches, names = _shown(connection, run, look, requested)
        read = read_curves(connection, tree, branches, names, look)
    return wall.build(tree, branches, read, names, look, points)


def _shown(
    connection: Connection, run: str, look: Look, requested: Sequence[str]
) -> tuple[TreeView, list[BranchView], tuple[str, ...]]:
    """Return the tree with its marks, and the branches and metrics that the address asks for."""
    outline = tree_outline.trees(connection, [run], brief=True)[run]
    overview = read_overview(connection, outline, look, requested)
    names = wall.choose(overview.metrics, requested)
    bare = TreeView(outline, TreeNodes(), now())
    rated = rating(bare, overview, names[0])
    branches = branch_choice.choose(bare, tree_address.choice(), rated)
    nodes = tree_nodes.read(
        connection,
        outline.run.id,
        log=tree_address.log(branches, is_narrowed=len(branches) < len(bare.branches)),
        marks=timeline.thinning(branches, timeline.domain(branches, look.window)),
    )
    tree = TreeView(outline, nodes, now(), shown={view.branch.id for view in branches})
    return tree, [tree.by_branch[view.branch.id] for view in branches], names


def _title(drawn: Chart) -> str:
    return f"{drawn.metric}, EMA {drawn.weight:g}" if drawn.smoothed else drawn.metric


def _named(
    answer: Response, run: str, names: Sequence[str], kind: str, *, inline: bool
) -> Response:
    """Return an answer that is saved under a name that says what it is."""
    words = "-".join([run, *names[:4]])
    file_name = re.sub(r"[^A-Za-z0-9._-]+", "_", words) + f".{kind}"
    disposition = "inline" if inline else "attachment"
    answer.headers.set("Content-Disposition", disposition, filename=file_name)
    answer.headers["Cache-Control"] = "no-cache"
    return answer


def requested_metrics() -> tuple[str, ...]:
    """Return the metrics that the address names.

    Raises:
        InvalidInput: there are more than a wall can have.
    """
    names = tuple(dict.fromkeys(name for name in request.args.getlist("metric") if name))
    if len(names) > wall.MOST:
        raise InvalidInput("metric", ", ".join(names), f"at most {wall.MOST} metrics")
    return names


def read_look() -> Look:
    """Return how the address wants the charts."""
    return Look(
        axis=request.args.get("x") or "step",
        log=query.choice("y", ("linear", "log")) == "log",
        weight=query.weight(chart.SMOOTHING, 0.6),
        window=query.window(),
        guides=steps_to_mark(),
    )


def read_overview(
    connection: Connection, outline: TreeSummary, look: Look, requested: Sequence[str] = ()
) -> Overview:
    """Return the metrics of a run, and the newest and best values of those that are shown.

    Raises:
        NotFound: it has no metric of a requested name, or none for the horizontal axis.
    """
    counter = [look.counter] if look.counter else []
    overview = metric_overview.read(
        connection,
        outline.run.id,
        list(outline.segments),
        requested[0] if requested else None,
        also=[*requested[1:], *counter, *wall.USUAL],
        valued=[*requested, *wall.USUAL],
    )
    names = overview.metrics.names
    # A run that has logged nothing yet is asked for what will be in it.
    expected = () if any(not name.startswith(OWN) for name in names) else FOLLOWED
    for name in (*requested, *counter):
        if name not in (*names, *expected):
            raise NotFound("metric", name, near(name, names) or names[:_SUGGESTED])
    return overview


def rating(tree: TreeView, overview: Overview, metric: str) -> Rating:
    """Return the best value of each branch: held-out if it was measured, else of ``metric``.

    The trainings of a trial have none: they drew other data, and their verdict stands for them.
    """
    rated = HELD_OUT if overview.values.get(HELD_OUT) else metric
    by_branch: dict[str, list[str]] = {}
    tried = {view.branch.id for view in tree.branches if view.is_tried}
    for segment in tree.outline.segments.values():
        if segment.branch_id in tried:
            continue
        by_branch.setdefault(segment.branch_id, []).append(segment.id)
    best = {branch: overview.best(rated, ids) for branch, ids in by_branch.items()}
    return Rating(rated, {branch: value for branch, value in best.items() if value is not None})


def read_curves(
    connection: Connection,
    tree: TreeView,
    branches: Sequence[BranchView],
    names: Sequence[str],
    look: Look,
) -> Curves:
    """Return the branches to draw, and what their curves are made of."""
    drawn = tree_chart.choose_branches(branches, names[0])
    lines = {view.name: tree_chart.spans(tree, view) for view in drawn}
    also = [look.counter] if look.counter else []
    is_sum = look.axis == "time" or bool(also)
    buckets = course_series.read_buckets(
        connection,
        sorted({span.segment for spans in lines.values() for span in spans}),
        list(dict.fromkeys([*names, *also])),
        cuts=courses.cuts(lines.values()),
        # A sum needs all that was before.
        window=(None, None) if is_sum else look.window,
    )
    return Curves(drawn, buckets)


def around(run: str, branch: str, step: int | None = None, span: int = 0) -> dict[str, Any]:
    """Return what to ask of the charts of a branch: all of it, or ``span`` steps around one."""
    view: dict[str, Any] = {"run": run, "path": branch}
    if step is not None:
        view |= {"at": step, "from": max(0, step - span), "to": step + span}
    return view


def choices(metrics: Metrics, names: Sequence[str], look: Look) -> Mapping[str, Any]:
    """Return the selected and the available choices of the charts."""
    weights = [(f"{value:g}", f"{value:g}" if value else "none") for value in chart.SMOOTHING]
    return {
        "x": look.axis,
        "axes": axes.choices(metrics.names, look.axis),
        "y": "log" if look.log else "linear",
        "smooth": f"{look.weight:g}",
        "weights": weights,
        "metrics": wall.offered(metrics, names),
    }
