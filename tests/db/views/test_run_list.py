"""The list of runs, as pages, shell and API read it."""

from __future__ import annotations

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.db import runs
from branchtrack.db.engine import Database
from branchtrack.db.views import run_list
from tests.trees_for_tests import make_forked_tree, make_tree


def test_runs_are_listed_newest_first_with_their_counts(database: Database, store: Store) -> None:
    make_forked_tree(database, store)
    make_tree(database, store, "other")
    with database.read() as connection:
        lines = run_list.find_runs(connection)
        current = run_list.current_segments(connection, [line.run.id for line in lines])
    counts = [(line.run.name, line.branches, line.nodes) for line in lines]
    assert counts == [("other", 1, 0), ("demo", 2, 6)]
    assert [len(current[line.run.id]) for line in lines] == [1, 2]


def test_runs_are_read_page_by_page_while_they_change(database: Database, store: Store) -> None:
    for name in "abc":
        make_tree(database, store, name)
    with database.read() as connection:
        first = run_list.created_runs(connection, 2)
    assert [line.run.name for line in first] == ["c", "b"]
    # By changes this one would now come first, and be on no page.
    with database.transaction() as connection:
        runs.create_branch(connection, runs.find_run(connection, "a").id, "new")
    with database.read() as connection:
        rest = run_list.created_runs(connection, 2, (first[-1].run.created_at, first[-1].run.id))
        assert runs.count_runs(connection) == 3
    assert [line.run.name for line in rest] == ["a"]


def test_details_count_nodes_and_say_where_segments_start(database: Database, store: Store) -> None:
    tree, line = make_forked_tree(database, store)
    with database.transaction() as connection:
        bare = runs.create_run(connection, "bare", actor="test")
    ids = [tree.run.id, bare.id]
    with database.read() as connection:
        found = run_list.details(connection, ids, with_settings=True)
        without = run_list.details(connection, ids, with_settings=False)
        assert run_list.counts(connection, ids) == {key: row.counts for key, row in found.items()}
        assert [(run.name, run.branches) for run in run_list.named(connection, ids)] == [
            ("bare", 0),
            ("demo", 2),
        ]
    demo, main = found[tree.run.id], tree.segment("main").id
    assert demo.counts.nodes == 6 and demo.starts[main] is None
    assert demo.starts[tree.segment("cooler").id] == (main, line[1].step)
    assert demo.settings[main]["lr"] == 0.01
    assert without[tree.run.id].settings[main] == {}
    assert found[bare.id].starts == {} and found[bare.id].counts.nodes == 0


def test_pinned_runs_are_listed_first(database: Database, store: Store) -> None:
    for name in "ab":
        make_tree(database, store, name)
    control.label(database, "a", actor="ann", pinned=True)
    make_tree(database, store, "c")
    with database.read() as connection:
        assert [line.run.name for line in run_list.find_runs(connection)] == ["a", "c", "b"]
