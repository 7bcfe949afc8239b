"""The signature page: a run's branches over training steps, their curves, and every node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Blueprint, Response, jsonify, request
from sqlalchemy import Connection

from branchtrack.config import Config
from branchtrack.core.records import Request
from branchtrack.db import launches, outlines, requests, selections
from branchtrack.db.metrics import Series
from branchtrack.db.selections import Metrics
from branchtrack.errors import NotFound
from branchtrack.web import asked, charts, lanes, logs, params, rows, tree_chart
from branchtrack.web.charts import Chart
from branchtrack.web.guides import steps_to_mark
from branchtrack.web.rendering import now, respond, wanted_block
from branchtrack.web.services import services
from branchtrack.web.svg import plots
from branchtrack.web.views import (
    BranchView,
    TreeView,
    counted,
    waiting_or_failed,
)

blueprint = Blueprint("tree", __name__)
TEMPLATE = "tree/index.html"
_REQUESTS = 20


@blueprint.get("/runs/<run>")
def show(run: str) -> Response:
    """The page, or its live part when only that is asked for."""
    return page(run)


@blueprint.get("/runs/<run>/chart")
def chart_data(run: str) -> Response:
    """The chart's values, for the script that redraws it when a branch has come or gone."""
    with services().database.read() as connection:
        tree = read_tree(connection, run)
        metric = _metrics(connection, tree).chosen or "loss"
        drawn = _chart(tree, _shown(tree), metric, _series(connection, tree, metric))
    return jsonify(drawn.as_json())


def page(run: str, status: int = 200, errors: dict[str, Any] | None = None) -> Response:
    """The tree page; ``errors`` are those of the steering form, by field."""
    live_only = wanted_block(TEMPLATE) == "live"
    with services().database.read() as connection:
        tree = read_tree(connection, run)
        found = requests.list_of_run(connection, tree.run.id, _REQUESTS)
        # The live part is asked for often, and its chart is fed by the stream.
        metrics = _metrics(connection, tree)
        metric = metrics.chosen or "loss"
        is_drawn = live_only and metrics.key == request.args.get("drawn")
        series = None if is_drawn else _series(connection, tree, metric)
    listed_requests = _settled(tree, found)
    branches = _shown(tree)
    drawn = None if series is None else _chart(tree, branches, metric, series)
    shown = lanes.domain(branches, params.window())
    listed, older = rows.build(tree, metric, only=_asked_names(), before=params.whole("before", 1))
    return respond(
        TEMPLATE, status, tree=tree, branches=branches, metric=metric,
        metrics=metrics, rows=listed, older=older, is_drawn=is_drawn or bool(drawn and drawn.lines),
        timeline=lanes.draw(tree, branches, shown, metric), counts=counted(tree.branches),
        chart=drawn, y_axis=plots.y_axis(drawn) if drawn else "",
        plot=plots.plot(drawn) if drawn else "",
        samples_rows=charts.sampled(drawn.lines) if drawn else [],
        requests=listed_requests,
        described={one.id: asked.described(one) for one in listed_requests},
        cursor=tree_chart.cursor(tree, series or {}), filters=_filters(), options=_options(),
        logs=_logs(tree, services().config), worker_note=services().worker_note,
        errors=errors or {}, undrawn=max(0, len(branches) - tree_chart.CURVES),
        live_only=live_only,
    )  # fmt: skip


def read_tree(connection: Connection, run: str) -> TreeView:
    """A whole tree in four statements.

    Raises:
        NotFound: no such run.
    """
    outline = outlines.trees(connection, [run])[run]
    nodes = outlines.lines(connection, [outline.run.id])
    told = waiting_or_failed(outline)
    started, newest = launches.of_run(connection, outline.run.id, told)
    return TreeView(outline, nodes, now(), started, newest)


def _settled(tree: TreeView, found: Sequence[Request]) -> Sequence[Request]:
    database = services().database

    def again() -> Sequence[Request]:
        with database.read() as connection:
            return requests.list_of_run(connection, tree.run.id, _REQUESTS)

    return asked.settled(database, found, tree.outline.segments, tree.now, again)


def _metrics(connection: Connection, tree: TreeView) -> Metrics:
    asked = request.args.get("metric") or None
    metrics = selections.list_metrics(connection, list(tree.outline.segments), asked)
    if asked is not None and asked not in metrics.names:
        raise NotFound("metric", asked, metrics.names)
    return metrics


def _series(connection: Connection, tree: TreeView, metric: str) -> dict[str, Series]:
    found = selections.read_series(connection, list(tree.outline.segments), [metric])
    return found.get(metric, {})


def _chart(tree: TreeView, branches: list[BranchView], metric: str, series: Any) -> Chart:
    return tree_chart.draw(
        tree, branches, metric, series, weight=params.weight(charts.SMOOTHING, 0.6),
        log=params.choice("y", ("linear", "log")) == "log", window=params.window(),
        guides=steps_to_mark(),
    )  # fmt: skip


def _shown(tree: TreeView) -> list[BranchView]:
    only = _asked_names()
    for name in only:
        if tree.named(name) is None:
            raise tree.no_branch(name)
    return [view for view in tree.branches if not only or view.name in only]


def _asked_names() -> list[str]:
    return [name for name in request.args.getlist("branch") if name]


def _options() -> dict[str, Any]:
    """The chart's choices in force, and those there are."""
    weights = [(f"{value:g}", f"{value:g}" if value else "none") for value in charts.SMOOTHING]
    return {
        "y": params.choice("y", ("linear", "log")),
        "smooth": f"{params.weight(charts.SMOOTHING, 0.6):g}",
        "weights": weights,
    }


def _filters() -> dict[str, Any]:
    """The choices in the address, to be kept by every link of the page."""
    low, high = params.window()
    kept = {name: request.args.get(name) or None for name in ("metric", "y", "smooth")}
    return {
        **kept,
        "branch": _asked_names(),
        "from": low,
        "to": high,
        "at": steps_to_mark(),
    }


def _logs(tree: TreeView, config: Config) -> dict[str, str]:
    """The last lines that failed launches printed, by branch."""
    refused = {} if tree.refused is None else {tree.refused.id: logs.tail(config, tree.refused)}
    return refused | {
        view.name: logs.tail(config, view.launch)
        for view in tree.branches
        if view.launch is not None and "failed" in (view.status, view.launch.state)
    }
