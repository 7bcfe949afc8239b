"""The path to a node has what was done before the node where the next segment begins, no more."""

from __future__ import annotations

from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import Node
from branchtrack.db.engine import Database
from branchtrack.db.views import branch_path
from tests import recordings
from tests.trees_for_tests import Tree, make_forked_tree


def lines(tree: Tree, name: str) -> list[tuple[str, list[int]]]:
    """The segments of a branch's path, each with the steps of its nodes."""
    with tree.database.read() as connection:
        path = branch_path.path_of_branch(connection, tree.segment(name).id)
    return [(stretch.segment.id, [node.step for node in stretch.nodes]) for stretch in path]


def test_a_segment_is_cut_at_the_node_where_the_next_begins(
    database: Database, store: Store
) -> None:
    tree, _nodes = make_forked_tree(database, store)
    main, cooler = tree.segment("main").id, tree.segment("cooler").id
    assert lines(tree, "main") == [(main, [0, 10, 20, 30])]
    assert lines(tree, "cooler") == [(main, [0, 10]), (cooler, [10, 20])]


def test_only_what_was_done_by_the_cut_is_on_the_path(database: Database, store: Store) -> None:
    tree, every = make_forked_tree(database, store)
    by_step = {node.step: node for node in every if node.branch_id == tree.branches["main"].id}
    before = recordings.carry_out(tree, "main", by_step[10])
    after = recordings.carry_out(tree, "main", by_step[20])
    failed = recordings.carry_out(tree, "main", None, step=9)
    late = recordings.carry_out(tree, "main", None, step=10)
    assert carried(tree, None) == [before.id, after.id, failed.id, late.id]
    assert carried(tree, by_step[10]) == [before.id, failed.id]
    assert carried(tree, by_step[0]) == []


def carried(tree: Tree, node: Node | None) -> list[str]:
    """What was carried out on the way to a node, or to the end of ``main``."""
    with tree.database.read() as connection:
        if node is None:
            path = branch_path.path_of_branch(connection, tree.segment("main").id)
        else:
            path = branch_path.path_to(connection, node)
        return [row.id for stretch in path for row in stretch.carried_out(connection)]
