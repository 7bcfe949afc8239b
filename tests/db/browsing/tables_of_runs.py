"""Runs with settings and metrics, for tests of lists."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from branchtrack.checkpoints.packs import Store
from branchtrack.db.browsing import run_search
from branchtrack.db.browsing.run_search import RunMatches
from branchtrack.db.engine import Database
from branchtrack.db.tables import segments
from tests.trees_for_tests import Tree, make_tree


def add_run(
    database: Database,
    store: Store,
    name: str,
    *,
    ended: str | None = "finished",
    settings: Mapping[str, Any] | None = None,
    **metrics: list[float],
) -> Tree:
    """A run whose ``main`` has these settings and values of metrics, at steps 1, 2 and so on."""
    tree = make_tree(database, store, name)
    describe(tree, "main", settings or {}, **metrics)
    if ended is not None:
        tree.end("main", ended)
    return tree


def describe(tree: Tree, branch: str, settings: Mapping[str, Any], **metrics: list[float]) -> None:
    """Give a branch settings, as a heartbeat does, and points."""
    for metric, values in metrics.items():
        tree.points(branch, metric, range(1, len(values) + 1), values)
    with tree.database.transaction() as connection:
        row = segments.c.id == tree.segment(branch).id
        connection.execute(segments.update().where(row).values(settings=dict(settings)))


def matches(
    database: Database,
    query: str = "",
    sort: str = "",
    by: str = "",
    columns: str = "",
    limit: int | None = None,
    offset: int = 0,
) -> RunMatches:
    """What a list shows."""
    selection = run_search.selection(query, sort, by, columns)
    with database.read() as connection:
        return run_search.search(connection, selection, time.time(), limit, offset)


def names(database: Database, query: str = "", sort: str = "", **rest: Any) -> list[str]:
    """The names of the runs that a list shows, in its order."""
    return [match.run.name for match in matches(database, query, sort, **rest).runs]
