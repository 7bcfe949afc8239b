"""The API for runs: lists, one run, its branches, its tree, its nodes page by page, its metrics.

Answers are what pages show, in the form of the command line's ``--json``. It writes no markup.
"""

from __future__ import annotations

import math
from typing import Any

from flask import Blueprint

from branchtrack.analysis import payloads, payloads_nodes, payloads_shards
from branchtrack.core.names import is_id_prefix
from branchtrack.db import runs
from branchtrack.db.browsing import run_search
from branchtrack.errors import InvalidInput
from branchtrack.schemas import curves as curve_models
from branchtrack.schemas import nodes as node_models
from branchtrack.schemas import runs as models
from branchtrack.schemas import shards as shard_models
from branchtrack.schemas.bases import Selection
from branchtrack.web.api.contract import documented
from branchtrack.web.rendering import now
from branchtrack.web.services import services

_DIGITS = 12
blueprint = Blueprint("api_runs", __name__, url_prefix="/api/v1")


@blueprint.get("/runs")
@documented(models.RunPage, query=models.RunsQuery)
def list_runs(query: models.RunsQuery) -> Any:
    """Return runs, most recently created first; with a query, an order or columns as a table."""
    is_table = query.query or query.sort or query.columns
    with services().database.read() as connection:
        if is_table:
            selection = run_search.selection(
                query.query, query.sort, columns=query.columns, archived=query.archived
            )
            offset = _offset(query.after)
            table = payloads.table_of_runs(connection, selection, now(), query.limit, offset)
            following = table["next"]
            return {**table, "next": None if following is None else str(following)}
        return payloads.page_of_runs(connection, now(), query.limit, _cursor(query.after))


@blueprint.get("/runs/<run>")
@documented(models.Run, query=Selection)
def show(run: str) -> Any:
    """Return a run without its tree."""
    with services().database.read() as connection:
        return payloads.run(connection, runs.find_run(connection, run))


@blueprint.get("/runs/<run>/branches")
@documented(models.BranchList, query=Selection)
def branches(run: str) -> Any:
    """Return the branches of a run in order of creation."""
    with services().database.read() as connection:
        return payloads.branches(connection, runs.find_run(connection, run))


@blueprint.get("/runs/<run>/tree")
@documented(models.Tree, query=Selection)
def tree(run: str) -> Any:
    """Return a run with its branches and nodes."""
    with services().database.read() as connection:
        return payloads.tree(connection, runs.find_run(connection, run))


@blueprint.get("/runs/<run>/nodes")
@documented(node_models.NodePage, query=node_models.NodesQuery)
def list_nodes(run: str, query: node_models.NodesQuery) -> Any:
    """Return the nodes of a run in the order in which they were committed."""
    with services().database.read() as connection:
        record, branch = runs.find_run(connection, run), None
        if query.branch is not None:
            branch = runs.find_branch(connection, f"{run}/{query.branch}")
        which: dict[str, Any] = {"branch": branch, "kind": query.kind}
        return payloads_nodes.page(connection, record, query.limit, query.after, **which)


@blueprint.get("/runs/<run>/metrics")
@documented(curve_models.MetricList, query=curve_models.MetricsQuery)
def list_metrics(run: str, query: curve_models.MetricsQuery) -> Any:
    """Return the metrics of a branch with their newest values."""
    ref = run if query.branch is None else f"{run}/{query.branch}"
    with services().database.read() as connection:
        branch = runs.find_branch(connection, ref)
        return {
            "run": runs.get_run(connection, branch.run_id).name,
            "branch": branch.name,
            "metrics": payloads_nodes.metrics(connection, branch),
        }


@blueprint.get("/runs/<run>/branches/<branch>/data")
@documented(shard_models.BranchData, query=Selection)
def branch_data(run: str, branch: str) -> Any:
    """Return the shards that a branch has trained from, with the samples of each."""
    with services().database.read() as connection:
        record = runs.find_branch(connection, f"{run}/{branch}")
        return payloads_shards.branch_data(connection, record)


def _offset(text: str | None) -> int:
    if text is None:
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > _DIGITS:
        raise InvalidInput("after", text, "the `next` of the page before")
    return int(text)


def _cursor(text: str | None) -> tuple[float, str] | None:
    if text is None:
        return None
    created_at, _, run_id = text.partition("~")
    try:
        moment = float(created_at)
    except ValueError:
        moment = math.nan
    if not math.isfinite(moment) or not is_id_prefix(run_id):
        raise InvalidInput("after", text, "the `next` of the page before")
    return moment, run_id
