"""Sizes count each stored byte where it is needed, and what deleting a branch would free."""

from __future__ import annotations

from pathlib import Path

from branchtrack.checkpoints.packs import Store
from branchtrack.db.engine import Database
from branchtrack.db.storage import thinning
from branchtrack.retention import report as reports
from tests.retention.trees import NBYTES, chain, commit
from tests.trees_for_tests import make_tree


def test_shared_bytes_count_for_each_branch_and_are_freed_with_none(
    database: Database, store: Store, tmp_path: Path
) -> None:
    tree = make_tree(database, store)
    line = chain(tree, count=3)
    tree.branch("side", line[1])
    fork = commit(tree, "side", 10, line[1], "fork")
    commit(tree, "side", 20, fork)
    with database.read() as connection:
        found = reports.report(connection, tmp_path)
    (run,) = found.runs
    main, side = run.branches
    assert (main.nodes, side.nodes, run.usage.nodes) == (3, 2, 5)
    assert main.logical_bytes == 9 * NBYTES and side.logical_bytes == 6 * NBYTES
    assert (main.stored_bytes, side.stored_bytes) == (7 * NBYTES, 5 * NBYTES)
    assert (main.frees, side.frees) == (4 * NBYTES, 2 * NBYTES)
    assert (run.usage.stored_bytes, run.usage.frees) == (9 * NBYTES, 9 * NBYTES)
    assert found.stored_bytes == sum(pack.nbytes for pack in store.packs())
    assert found.free_bytes > 0 and found.unused_bytes == 0


def test_thinned_nodes_are_counted_and_what_they_left_is_unused(
    database: Database, store: Store, tmp_path: Path
) -> None:
    line = chain(make_tree(database, store), count=3)
    with database.transaction() as connection:
        thinning.mark(connection, {line[1].state_digest: "recipe"})
    with database.read() as connection:
        found = reports.as_json(reports.report(connection, tmp_path), 7)
    (run,) = found["runs"]
    assert run["thinned"] == 1 and run["name"] == "demo" and run["policy"] is None
    assert run["branches"][0]["name"] == "main"
    assert found["unused_bytes"] == 2 * NBYTES and found["leftover_bytes"] == 7
    assert run.keys() >= {"name", "nodes", "logical_bytes", "stored_bytes", "thinned"}


def test_bytes_that_two_runs_need_are_freed_with_neither(
    sqlite_database: Database, store: Store, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        chain(make_tree(sqlite_database, store, name), count=1)
    with sqlite_database.read() as connection:
        found = reports.report(connection, tmp_path)
    assert [run.usage.frees for run in found.runs] == [0, 0]
    assert [run.usage.stored_bytes for run in found.runs] == [3 * NBYTES, 3 * NBYTES]


def test_an_empty_home_has_a_report(sqlite_database: Database, tmp_path: Path) -> None:
    with sqlite_database.read() as connection:
        found = reports.as_json(reports.report(connection, tmp_path), 0)
    assert found["runs"] == [] and found["stored_bytes"] == 0
