"""The tree page: a run's branches over training steps, their curves, and every node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flask import Blueprint, Response, jsonify, request
from sqlalchemy import Connection

from branchtrack.config import Config
from branchtrack.core.names import near
from branchtrack.core.records import Request
from branchtrack.db import requests
from branchtrack.db.orders import launches
from branchtrack.db.views import chart_series, tree_nodes, tree_outline
from branchtrack.db.views.chart_series import Metrics
from branchtrack.db.views.tree_nodes import Thinning, TreeNodes
from branchtrack.db.views.tree_outline import TreeSummary
from branchtrack.errors import NotFound
from branchtrack.web.charts import chart, plots, timeline, tree_chart
from branchtrack.web.charts.chart import Chart
from branchtrack.web.charts.guides import steps_to_mark
from branchtrack.web.charts.tree_chart import Curves
from branchtrack.web.input import query
from branchtrack.web.pages.live_part import Sent
from branchtrack.web.rendering import now, respond, wanted_block
from branchtrack.web.services import services
from branchtrack.web.svg.timeline import Domain
from branchtrack.web.view import log_tail, node_rows, request_lines
from branchtrack.web.view.tree import (
    HELD_OUT,
    BranchView,
    TreeView,
    counted,
    standing_nodes,
    waiting_or_failed,
)

blueprint = Blueprint("tree", __name__)
TEMPLATE = "tree/index.html"
_REQUESTS = 20
#: Metrics that are suggested if no name is similar.
_SUGGESTED = 20


@blueprint.get("/runs/<run>")
def show(run: str) -> Response:
    """Return the page, or only its live part if that is requested."""
    return render_tree(run)


@blueprint.get("/runs/<run>/chart")
def chart_data(run: str) -> Response:
    """Return the chart's values, for the script that redraws it when the branches change."""
    with services().database.read() as connection:
        outline = tree_outline.trees(connection, [run])[run]
        branches = _shown(TreeView(outline, TreeNodes(), now()))
        marks = timeline.thinning(branches, timeline.domain(branches, query.window()))
        tree = TreeView(outline, _nodes(connection, outline, branches, 0, marks), now())
        metric = _metrics(connection, outline).chosen or "loss"
        curves = _curves(connection, tree, metric)
    return jsonify(_chart(tree, metric, curves).as_json())


def render_tree(run: str, status: int = 200, errors: dict[str, Any] | None = None) -> Response:
    """Return the tree page; ``errors`` are those of the steering form, by field."""
    live_only = wanted_block(TEMPLATE) == "live"
    with services().database.read() as connection:
        outline = tree_outline.trees(connection, [run])[run]
        sent = Sent(live_only)
        metrics = _metrics(connection, outline, sent)
        metric = metrics.chosen or "loss"
        # The branches without their nodes, which decide which nodes have to be read.
        branches = _shown(TreeView(outline, TreeNodes(), now()))
        domain = timeline.domain(branches, query.window())
        sent.check_lanes(outline.cursor, metric, domain, branches)
        is_same = sent.has_lanes and sent.is_drawn
        marks = None if is_same else timeline.thinning(branches, domain)
        nodes = _nodes(connection, outline, branches, node_rows.PAGE, marks)
        launched = launches.of_run(connection, outline.run.id, waiting_or_failed(outline))
        tree = TreeView(outline, nodes, now(), *launched)
        sent.check_nodes(metric, nodes)
        asked_for = requests.list_of_run(connection, tree.run.id, _REQUESTS)
        # The live part is requested often, and its chart is updated by the stream.
        curves = None if sent.is_drawn else _curves(connection, tree, metric)
        ends = {} if is_same else _ends(connection, tree, metric, curves)
    listed_requests = _refreshed(tree, asked_for)
    branches = _shown(tree)
    drawn = None if curves is None else _chart(tree, metric, curves)
    return respond(
        TEMPLATE,
        status,
        tree=tree,
        branches=branches,
        metric=metric,
        metrics=metrics,
        sent=sent,
        is_drawn=sent.is_drawn or bool(drawn and drawn.lines),
        counts=counted(tree.branches),
        undrawn=_undrawn(branches, curves),
        requests=listed_requests,
        most_requests=_REQUESTS,
        described={listed.id: request_lines.describe_request(listed) for listed in listed_requests},
        cursor=tree_chart.cursor(tree, curves.series if curves else {}),
        filters=_filters(),
        options=_options(),
        logs=_logs(tree, services().config),
        worker_note=services().worker_note,
        errors=errors or {},
        **_chart_parts(drawn),
        **_tree_parts(tree, branches, sent, metric, domain, ends),
    )


def _chart_parts(drawn: Chart | None) -> dict[str, Any]:
    return {
        "chart": drawn,
        "y_axis": plots.y_axis(drawn) if drawn else "",
        "plot": plots.plot(drawn) if drawn else "",
        "samples_rows": chart.sampled(drawn.lines) if drawn else [],
    }


def _tree_parts(
    tree: TreeView,
    branches: Sequence[BranchView],
    sent: Sent,
    metric: str,
    domain: Domain,
    ends: Mapping[str, tuple[int, float]],
) -> dict[str, Any]:
    """Return the lanes and the rows of nodes, and which of them the browser does not have yet."""
    sent.take_over()
    parts: dict[str, Any] = {
        "ends": {view.name: view.reached(metric, ends) for view in branches},
        "rows": [],
        "row_changes": None,
        "timeline": None,
        "lane_changes": None,
    }
    if not sent.has_nodes:
        parts["rows"] = listed = node_rows.build(tree, metric, only=_asked_names())
        parts["row_changes"] = sent.changed_rows(metric, tree.nodes, listed)
    if not sent.has_lanes:
        root = request.script_root
        parts["timeline"] = drawing = timeline.Drawing.of(tree, branches, domain, root)
        beside = _beside(metric, branches, parts["ends"])
        parts["lane_changes"] = sent.changed_lanes(drawing, beside)
    return parts


def _nodes(
    connection: Connection,
    outline: TreeSummary,
    branches: Sequence[BranchView],
    limit: int,
    marks: Thinning | None,
) -> TreeNodes:
    return tree_nodes.read(
        connection,
        outline.run.id,
        ids=standing_nodes(outline),
        branch_ids=[view.branch.id for view in branches] if _asked_names() else (),
        before=query.whole("before", 1),
        limit=limit,
        marks=marks,
        best=HELD_OUT if marks and limit else None,
    )


def _ends(
    connection: Connection, tree: TreeView, metric: str, curves: Curves | None
) -> dict[str, tuple[int, float]]:
    is_whole = query.window() == (None, None) and not _undrawn(_shown(tree), curves)
    if curves is not None and is_whole:
        return tree_chart.last_points(curves.series)
    return chart_series.last_points(connection, list(tree.outline.segments), metric)


def _beside(
    metric: str,
    branches: Sequence[BranchView],
    reached: Mapping[str, tuple[int | None, float | None]],
) -> list[Any]:
    """Return the values beside the lanes, without their names."""
    return [(metric, reached[view.name], view.certified) for view in branches]


def _undrawn(branches: Sequence[BranchView], curves: Curves | None) -> list[str]:
    drawn = {view.name for view in curves.drawn} if curves else set()
    return [view.name for view in branches if view.name not in drawn] if curves else []


def _refreshed(tree: TreeView, listed: Sequence[Request]) -> Sequence[Request]:
    database = services().database

    def reload() -> Sequence[Request]:
        with database.read() as connection:
            return requests.list_of_run(connection, tree.run.id, _REQUESTS)

    return request_lines.refresh_if_orphaned(
        database, listed, tree.outline.segments, tree.now, reload
    )


def _metrics(connection: Connection, outline: TreeSummary, sent: Sent | None = None) -> Metrics:
    """Return the run's metrics; what the browser draws is reused while it is still valid."""
    metric_name = request.args.get("metric") or None
    segments = list(outline.segments)
    if sent is not None and sent.live_only and "drawn" in request.args:
        total = chart_series.count_metrics(connection, segments)
        drawn = sent.drawn(total, metric_name)
        if drawn is not None:
            sent.is_drawn = True
            return Metrics((), drawn, total)
    metrics = chart_series.list_metrics(connection, segments, metric_name)
    if metric_name is not None and metric_name not in metrics.names:
        raise NotFound(
            "metric", metric_name, near(metric_name, metrics.names) or metrics.names[:_SUGGESTED]
        )
    return metrics


def _curves(connection: Connection, tree: TreeView, metric: str) -> Curves:
    """Return the branches to draw, and the points of their curves."""
    drawn = tree_chart.choose_branches(_shown(tree), metric)
    reading = tree_chart.Reading.of(tree, drawn, query.window())
    series = chart_series.read_series(
        connection,
        reading.lows,
        [metric],
        lows=reading.lows if any(reading.lows.values()) else None,
        highs=dict.fromkeys(reading.lows, reading.high),
        timed=False,
    )
    return Curves(drawn, series.get(metric, {}))


def _chart(tree: TreeView, metric: str, curves: Curves) -> Chart:
    return tree_chart.build_chart(
        tree,
        _shown(tree),
        curves,
        metric,
        weight=query.weight(chart.SMOOTHING, 0.6),
        log=query.choice("y", ("linear", "log")) == "log",
        window=query.window(),
        guides=steps_to_mark(),
    )


def _shown(tree: TreeView) -> list[BranchView]:
    only = _asked_names()
    for name in only:
        if tree.named(name) is None:
            raise tree.no_branch(name)
    return [view for view in tree.branches if not only or view.name in only]


def _asked_names() -> list[str]:
    return [name for name in request.args.getlist("branch") if name]


def _options() -> dict[str, Any]:
    """Return the selected and the available choices of the chart."""
    weights = [(f"{value:g}", f"{value:g}" if value else "none") for value in chart.SMOOTHING]
    return {
        "y": query.choice("y", ("linear", "log")),
        "smooth": f"{query.weight(chart.SMOOTHING, 0.6):g}",
        "weights": weights,
    }


def _filters() -> dict[str, Any]:
    """Return the choices in the address, which every link of the page keeps."""
    low, high = query.window()
    choices = {name: request.args.get(name) or None for name in ("metric", "y", "smooth")}
    return {
        **choices,
        "branch": _asked_names(),
        "from": low,
        "to": high,
        "at": steps_to_mark(),
    }


def _logs(tree: TreeView, config: Config) -> dict[str, str]:
    """Return the last lines of output of failed launches, by branch."""
    refused = {} if tree.refused is None else {tree.refused.id: log_tail.tail(config, tree.refused)}
    return refused | {
        view.name: log_tail.tail(config, view.launch)
        for view in tree.branches
        if view.launch is not None and "failed" in (view.status, view.launch.state)
    }
