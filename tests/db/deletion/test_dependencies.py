"""A branch depends on those that its nodes come from."""

from __future__ import annotations

from branchtrack.checkpoints.packs import Store
from branchtrack.db.deletion import dependencies
from branchtrack.db.engine import Database
from branchtrack.db.tables import nodes
from tests.trees_for_tests import make_forked_tree


def test_dependencies_are_followed_up_and_down(database: Database, store: Store) -> None:
    tree, line = make_forked_tree(database, store)
    tree.branch("coolest", line[5])
    tree.node("coolest", 20, line[5], kind="fork")
    ids = {name: branch.id for name, branch in tree.branches.items()}
    with database.read() as connection:
        needed = dependencies.of_run(connection, tree.run.id)
        below = dependencies.below(needed, [ids["cooler"]])
        assert below == {ids["cooler"], ids["coolest"]}
        assert dependencies.above(needed, [ids["coolest"]]) == set(ids.values())
        chosen = dependencies.chosen(connection, tree.run.id, below)
    assert [branch.name for branch in chosen] == ["cooler", "coolest"]


def test_a_merge_depends_on_both_its_parents(database: Database, store: Store) -> None:
    tree, line = make_forked_tree(database, store)
    tree.branch("joined", line[3])
    merge = tree.node("joined", 30, line[3], kind="merge")
    with database.transaction() as connection:
        joined = nodes.update().where(nodes.c.id == merge.id)
        connection.execute(joined.values(merge_parent_id=line[5].id))
        needed = dependencies.of_run(connection, tree.run.id)
    assert tree.branches["joined"].id in dependencies.below(needed, [tree.branches["cooler"].id])
