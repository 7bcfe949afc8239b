"""Where a node stands in its run, read without the rest of it."""

from __future__ import annotations

from branchtrack.checkpoints.packs import Store
from branchtrack.db import nodes
from branchtrack.db.engine import Database
from branchtrack.db.tables import segments
from branchtrack.db.views.nearby import node_place
from tests.trees_for_tests import make_forked_tree


def test_a_node_comes_with_its_branch_and_the_names_of_the_others(
    database: Database, store: Store
) -> None:
    tree, line = make_forked_tree(database, store)
    tree.end("cooler")
    with database.read() as connection:
        place = node_place.read(connection, line[1])
    assert place.run.id == tree.run.id and place.branch.name == "main"
    assert [branch.name for branch in place.branches.values()] == ["main", "cooler"]
    # One that has ended is not read: nothing of it is shown.
    assert list(place.segments) == [tree.segment("main").id]
    assert place.certificate is None


def test_a_branch_that_trains_comes_with_its_segment(database: Database, store: Store) -> None:
    tree, line = make_forked_tree(database, store)
    with database.transaction() as connection:
        connection.execute(segments.update().values(status="paused"))
    with database.read() as connection:
        place = node_place.read(connection, line[1])
    assert set(place.segments) == {tree.segment("main").id, tree.segment("cooler").id}


def test_parent_children_siblings_and_named_nodes_are_read(
    database: Database, store: Store
) -> None:
    tree, line = make_forked_tree(database, store)
    with database.read() as connection:
        every = nodes.list_of_run(connection, tree.run.id)
        around = node_place.surroundings(connection, line[1], [line[3].id])
    below = [node.id for node in every[::-1] if node.parent_id == line[1].id]
    assert len(below) == 2 and list(around.children) == below and list(around.siblings) == []
    with database.read() as connection:
        beside = node_place.surroundings(connection, nodes.get(connection, below[0]))
    assert list(beside.siblings) == below[1:]
    # The node itself is a child of its parent, as its siblings are.
    assert set(around.by_id) == {line[0].id, line[1].id, *below, line[3].id}
