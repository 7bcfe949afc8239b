"""The data API: what pages show, as JSON in the form of the command line's ``--json``.

Errors have one form, made in `app`. It writes no markup.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from flask import Blueprint, Response, jsonify, request
from sqlalchemy import Connection

from branchtrack.analysis import payloads, payloads_nodes
from branchtrack.analysis.downsample import downsample, gaps
from branchtrack.core.names import is_id_prefix
from branchtrack.core.records import Branch
from branchtrack.db import nodes, runs
from branchtrack.db.metrics import Series
from branchtrack.errors import InvalidInput
from branchtrack.web.input import query
from branchtrack.web.rendering import now
from branchtrack.web.services import services

blueprint = Blueprint("api", __name__, url_prefix="/api/v1")
#: The most points that a request may ask for; without ``points`` it gets all of them.
_MOST_POINTS = 100_000
#: Points of each curve of a comparison, by default.
_COMPARED_POINTS = 1000
_PAGE, _MOST_RUNS = 500, 5000


@blueprint.get("/runs")
def list_runs() -> Response:
    """Return runs, most recently created first; ``after`` is the ``next`` of the page before."""
    limit = query.whole("limit", 1) or _PAGE
    if limit > _MOST_RUNS:
        raise InvalidInput("limit", limit, f"at most {_MOST_RUNS:,}")
    with services().database.read() as connection:
        return jsonify(payloads.page_of_runs(connection, now(), limit, _cursor()))


@blueprint.get("/runs/<run>/tree")
def tree(run: str) -> Response:
    """Return a run with its branches and nodes."""
    with services().database.read() as connection:
        return jsonify(payloads.tree(connection, runs.find_run(connection, run)))


@blueprint.get("/nodes/<node_id>")
def node(node_id: str) -> Response:
    """Return a node with its settings, environment and checkpoint."""
    with services().database.read() as connection:
        node_record = nodes.find(connection, node_id)
        return jsonify(payloads_nodes.show(connection, services().store, node_record))


@blueprint.get("/curve")
def curve() -> Response:
    """Return a metric along a branch: raw, or ``points`` of it; ``from`` and ``to`` cut steps."""
    branch, metric = _needed("branch"), request.args.get("metric") or "loss"
    with services().database.read() as connection:
        branch_record = runs.find_branch(connection, branch)
        return jsonify(_curve(connection, branch_record, metric, _points(None)))


@blueprint.get("/compare")
def compare() -> Response:
    """Return the differences and both curves: downsampled, or raw with ``points=all``."""
    a, b = _needed("a"), _needed("b")
    metric = request.args.get("metric") or "loss"
    with services().database.read() as connection:
        different = payloads_nodes.diff(connection, a, b)
        sides = [runs.find_branch(connection, ref) for ref in (a, b)]
        points = _points(_COMPARED_POINTS)
        drawn = [_curve(connection, side, metric, points) for side in sides]
    return jsonify({**different, "metric": metric, "curves": dict(zip("ab", drawn, strict=True))})


def _points(default: int | None) -> int | None:
    """Return how many points of a curve are requested; None means all."""
    if request.args.get("points") == "all":
        return None
    points = query.whole("points", 4)
    if points is not None and points > _MOST_POINTS:
        raise InvalidInput("points", points, f"at most {_MOST_POINTS:,}, or all")
    return default if points is None else points


def _cursor() -> tuple[float, str] | None:
    text = request.args.get("after", "")
    if not text:
        return None
    created_at, _, run_id = text.partition("~")
    try:
        moment = float(created_at)
    except ValueError:
        moment = math.nan
    if not math.isfinite(moment) or not is_id_prefix(run_id):
        raise InvalidInput("after", text, "the `next` of the page before")
    return moment, run_id


def _curve(
    connection: Connection, branch: Branch, metric: str, points: int | None
) -> dict[str, Any]:
    low, high = query.window()
    if low is None and high is None:
        return payloads_nodes.curve(connection, branch, metric, points)
    whole = payloads_nodes.curve(connection, branch, metric)
    return {**whole, **_cut(whole, low, high, points)}


def _cut(
    whole: dict[str, Any], low: int | None, high: int | None, points: int | None
) -> dict[str, Any]:
    """Return the part of a curve between two steps (inclusive), before it is downsampled."""
    series = Series(
        np.array(whole["steps"], np.int64),
        np.array(whole["values"], np.float64),
        np.array(whole["wall_times"], np.float64),
    ).cut(-1 if low is None else low - 1, high)
    thin = series if points is None else downsample(series, points)
    return {
        "steps": thin.steps.tolist(),
        "values": thin.values.tolist(),
        "wall_times": thin.times.tolist(),
        "gaps": gaps(series),
        "points": int(series.steps.size),
    }


def _needed(name: str) -> str:
    value = request.args.get(name, "").strip()
    if not value:
        raise InvalidInput(name, value, "RUN or RUN/BRANCH", what=f"{name} is needed.")
    return value
