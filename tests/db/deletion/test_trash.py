"""The trash lists runs, and branches by the order that deleted them."""

from __future__ import annotations

from branchtrack.checkpoints.packs import Store
from branchtrack.db import audit, integrity, runs
from branchtrack.db.deletion import trash
from branchtrack.db.engine import Database
from tests.trees_for_tests import make_forked_tree, make_tree


def test_entries_say_what_who_and_why(database: Database, store: Store) -> None:
    tree, _ = make_forked_tree(database, store)
    other = make_tree(database, store, "other")
    with database.transaction() as connection:
        trash.put(connection, [tree.branches["cooler"]], actor="ann", why="worse")
        trash.put(connection, [other.run], actor="bob", why="")
    with database.read() as connection:
        last, first = trash.entries(connection)
        assert (first.name, first.nodes, first.actor, first.reason) == (
            "demo/cooler",
            2,
            "ann",
            "worse",
        )
        assert (last.name, last.branches, last.actor, last.id) == ("other", (), "bob", other.run.id)
        assert trash.count_nodes(connection, [tree.branches["main"].id]) == 4


def test_what_is_taken_out_is_as_it_was_but_for_the_log(database: Database, store: Store) -> None:
    tree, _ = make_forked_tree(database, store)
    with database.read() as connection:
        before = runs.find_branch(connection, "demo/cooler")
    with database.transaction() as connection:
        trash.put(connection, [before], actor="ann", why="")
        trash.take_out(connection, [before], actor="ann", why="after all")
    with database.read() as connection:
        assert runs.find_branch(connection, "demo/cooler") == before
        assert trash.entries(connection) == []
        states = [event.state for event in audit.newest(connection, tree.run.id, 2)]
        assert states == [trash.DELETED, trash.RESTORED]
        assert integrity.of_database(connection) == []
