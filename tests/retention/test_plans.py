"""A plan says per branch what stays, and sees what else in the record decides."""

from __future__ import annotations

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.db.engine import Database
from branchtrack.db.orders import ordering
from branchtrack.db.storage import thinning
from branchtrack.retention import plans
from branchtrack.retention.plans import Plan
from branchtrack.retention.policies import Policy
from tests.retention.trees import NBYTES, certify, chain, commit
from tests.trees_for_tests import Tree, make_tree


@pytest.fixture
def tree(database: Database, store: Store) -> Tree:
    """A run with an empty branch ``main``."""
    return make_tree(database, store)


def plan(tree: Tree, policy: Policy | None = None) -> Plan:
    with tree.database.read() as connection:
        return plans.plan(connection, tree.run.id, policy or Policy("thin"))


def test_each_branch_is_counted_by_itself(tree: Tree) -> None:
    line = chain(tree, count=4)
    certify(tree.database, line[0], line[-1])
    tree.branch("side", line[1])
    fork = commit(tree, "side", 10, line[1], "fork")
    for step in (20, 30):
        fork = commit(tree, "side", step, fork)
    main, side = plan(tree).branches
    assert (main.name, main.whole, main.recipe, main.weights) == ("main", 3, 1, 0)
    assert (side.name, side.whole, side.recipe, side.weights) == ("side", 2, 0, 1)
    assert (main.frees, side.frees) == (2 * NBYTES, NBYTES)


def test_only_the_newest_certificate_of_a_process_counts(tree: Tree) -> None:
    line = chain(tree, count=4)
    certify(tree.database, line[0], line[-1])
    assert set(plan(tree).left.values()) == {"recipe"}
    certify(tree.database, line[1], line[2], exact=False)
    assert set(plan(tree).left.values()) == {"weights"}


def test_a_certificate_outside_of_the_tests_counts_for_its_stretch(tree: Tree) -> None:
    line = chain(tree, count=5)
    certify(tree.database, line[1], line[3], untested=("device cuda (tested: cpu)",))
    left = plan(tree).left
    assert left == {line[2].state_digest: "recipe", line[3].state_digest: "recipe"}


def test_the_node_of_a_launch_that_has_not_ended_stays(tree: Tree) -> None:
    line = chain(tree, count=4)
    certify(tree.database, line[0], line[-1])
    with tree.database.transaction() as connection:
        ordering.order(
            connection, line[1], branch_name="b", overrides={}, mode="exact", actor="t", reason=""
        )
    assert set(plan(tree).left) == {line[2].state_digest}
    assert plan(tree).why["fork point"] == 2


def test_what_earlier_sweeps_left_counts_as_freed(tree: Tree) -> None:
    line = chain(tree, count=3)
    with tree.database.transaction() as connection:
        thinning.mark(connection, {line[1].state_digest: "recipe"})
    assert plan(tree, Policy()).left == {}
    assert plan(tree, Policy()).freed_bytes == 2 * NBYTES
