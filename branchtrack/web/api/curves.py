"""The API for curves, comparisons and differences. It writes no markup."""

from __future__ import annotations

from typing import Any

from flask import Blueprint
from sqlalchemy import Connection

from branchtrack.analysis import (
    payloads_comparison,
    payloads_nodes,
    payloads_weights,
    side_by_side,
)
from branchtrack.db import runs
from branchtrack.schemas import curves as models
from branchtrack.web.api.contract import documented
from branchtrack.web.services import services

blueprint = Blueprint("api_curves", __name__, url_prefix="/api/v1")


@blueprint.get("/curve")
@documented(models.Curve, query=models.CurveQuery)
def curve(query: models.CurveQuery) -> Any:
    """Return a metric along a branch: raw, by ``points``, or only what is new ``since`` then."""
    with services().database.read() as connection:
        return _curve(connection, query.branch, query, query.since)


@blueprint.get("/compare")
@documented(models.Comparison, query=models.CompareQuery)
def compare(query: models.CompareQuery) -> Any:
    """Return the differences of two branches or more, and all curves."""
    others = [ref.strip() for ref in (query.others or "").split(",") if ref.strip()]
    several: dict[str, Any] | None = None
    with services().database.read() as connection:
        if others or query.base:
            refs = (query.a, query.b, *others)
            lines = side_by_side.read(connection, refs, base=query.base, metric=query.metric)
            several = payloads_comparison.side_by_side(connection, lines)
        different = payloads_nodes.diff(connection, query.a, query.b)
        refs_by_name = {"a": query.a, "b": query.b, **{ref: ref for ref in others}}
        curves = {name: _curve(connection, ref, query) for name, ref in refs_by_name.items()}
    return {**different, "metric": query.metric, "curves": curves, "side_by_side": several}


@blueprint.get("/diff")
@documented(models.Diff, query=models.DiffQuery)
def diff(query: models.DiffQuery) -> Any:
    """Return the differences between two branches, two nodes, or one of each."""
    with services().database.read() as connection:
        return payloads_nodes.diff(connection, query.a, query.b)


@blueprint.get("/diff/weights")
@documented(models.WeightDistance, query=models.DiffQuery)
def weights(query: models.DiffQuery) -> Any:
    """Return how far the weights of two sides are apart, by module."""
    with services().database.read() as connection:
        planned = payloads_weights.plan(connection, query.a, query.b)
    return payloads_weights.measured(services().store, planned, payloads_weights.MOST)


def _curve(
    connection: Connection,
    ref: str,
    query: models.CurveQuery | models.CompareQuery,
    since: str | None = None,
) -> dict[str, Any]:
    branch = runs.find_branch(connection, ref)
    points = None if query.points == "all" else query.points
    cut: dict[str, Any] = {"first": query.first, "last": query.last, "since": since}
    return payloads_nodes.curve(connection, branch, query.metric, points, **cut)
