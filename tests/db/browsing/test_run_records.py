"""Of a run is read what lists need, and in which state it is."""

from __future__ import annotations

import time

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.db import segments
from branchtrack.db.browsing import run_records
from branchtrack.db.engine import Database
from branchtrack.db.tables import runs
from tests.db.browsing.tables_of_runs import add_run
from tests.trees_for_tests import make_forked_tree


def test_a_run_has_its_branches_and_their_segments_in_order(
    database: Database, store: Store
) -> None:
    tree, line = make_forked_tree(database, store)
    tree.end("main")
    with database.transaction() as connection:
        segments.create(connection, tree.run.id, tree.branches["main"].id, line[3].id, 30)
    with database.read() as connection:
        reading = run_records.read(connection, None, time.time(), metrics=["loss"])
    run = reading.runs[tree.run.id]
    assert [branch.name for branch in run.branches] == ["main", "cooler"]
    main = run.branches[0]
    assert [segment.status for segment in main.segments] == ["finished", "waiting"]
    assert main.current is main.segments[1] and main.trained is main.segments[0]
    assert (run.status, run.is_fresh, run.step) == ("running", True, 30)
    assert run.shown_branch is run.branches[1]
    assert run.leader is main and run.leading == main.segments[0].id
    assert {(row.minimum, row.maximum) for row in reading.extremes} == {(1.0, 30.0), (111.0, 120.0)}
    assert (run.branch_count, run.segment_count) == (2, 3)


def test_a_run_without_branches_and_one_in_the_trash_are_read_too(
    database: Database, store: Store
) -> None:
    tree, _line = make_forked_tree(database, store)
    for branch in ("main", "cooler"):
        tree.end(branch)
    control.delete(database, "demo/cooler", actor="ann")
    add_run(database, store, "gone")
    control.delete(database, "gone", actor="ann")
    with database.read() as connection:
        reading = run_records.read(connection, None, time.time())
    gone, demo = sorted(reading.runs.values(), key=lambda run: run.name, reverse=True)
    assert gone.trashed and [branch.name for branch in demo.branches] == ["main"]
    assert demo.branch_count == 2 and demo.status == "finished" and not demo.is_open


def test_settings_are_read_where_they_are_needed(database: Database, store: Store) -> None:
    tree = add_run(database, store, "demo", settings={"lr": 0.5, "clip": None})
    is_demo = runs.c.name == "demo"
    with database.read() as connection:
        assert run_records.read(connection, is_demo, 0.0).settings == {}
        with_settings = run_records.read(connection, is_demo, 0.0, with_settings=True).settings
        assert with_settings == {tree.segment("main").id: {"lr": 0.5, "clip": None}}
        assert run_records.settings_of(connection, None) == with_settings
        assert run_records.settings_of(connection, []) == {}
