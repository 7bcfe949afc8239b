"""A roster has what is named exactly, and everything that hangs on it."""

from __future__ import annotations

from branchtrack.checkpoints.packs import Store
from branchtrack.db import nodes, runs, segments
from branchtrack.db.deletion import trash
from branchtrack.db.engine import Database
from branchtrack.db.orders import groups
from branchtrack.db.views import rosters
from tests.trees_for_tests import make_forked_tree, make_tree


def test_runs_are_read_by_name_by_id_and_by_a_node(database: Database, store: Store) -> None:
    tree, line = make_forked_tree(database, store)
    other, third = make_tree(database, store, "other"), make_tree(database, store, "third")
    with database.read() as connection:
        roster = rosters.read(connection, ["other", "nope", "nul\0"], [line[0].id, line[-1].id])
        assert {run.name for run in roster.runs.values()} == {"demo", "other"}
        assert (
            roster.run("demo") == roster.run(tree.run.id) == runs.get_run(connection, tree.run.id)
        )
        assert roster.run("third") is None
        rosters.read(connection, [third.run.id], roster=roster)
    assert {third.run.id, other.run.id} < roster.runs.keys()
    assert roster.branch_ids == {
        line[0].id: tree.branches["main"].id,
        line[-1].id: tree.branches["cooler"].id,
    }


def test_segments_come_with_their_starts_and_their_code(database: Database, store: Store) -> None:
    tree, _line = make_forked_tree(database, store)
    tree.branch("waits", train=False)
    with database.transaction() as connection:
        segments.set_code(connection, tree.segment("cooler").id, {"commit": "abc"})
        roster = rosters.read(connection, ["demo"])
        assert roster.starts == nodes.starts(connection, tree.run.id)
        assert list(roster.branches.values()) == runs.list_branches(connection, tree.run.id)
    assert roster.codes == {tree.segment("cooler").id: {"commit": "abc"}}


def test_branches_in_the_trash_are_there_but_not_by_name(database: Database, store: Store) -> None:
    tree, _line = make_forked_tree(database, store)
    with database.transaction() as connection:
        group = groups.create(connection, tree.run.id, "both", "values", actor="ann")
        for name in ("main", "cooler"):
            groups.add_branch(connection, group, tree.branches[name])
        trash.put(connection, [tree.branches["cooler"]], actor="ann", why="")
        roster = rosters.read(connection, ["demo"])
    assert len(roster.branches) == 2
    assert roster.branch(tree.run, "cooler") is None
    assert [branch.name for branch in roster.members(tree.run, "both")] == ["main"]
    assert roster.members(tree.run, "none") == []
