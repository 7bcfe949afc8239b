"""An order creates a branch, its waiting segment, its fork node and a launch, or nothing."""

from __future__ import annotations

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.db import integrity, nodes, runs, segments
from branchtrack.db.engine import Database
from branchtrack.db.orders import groups, ordering
from branchtrack.errors import NameTaken
from tests.trees_for_tests import make_forked_tree


def test_an_order_is_whole(database: Database, store: Store) -> None:
    tree, line = make_forked_tree(database, store)
    with database.transaction() as connection:
        group = groups.create(connection, tree.run.id, "rates", "fan-out", actor="ann")
        launch = ordering.order(
            connection,
            line[1],
            branch_name="hot",
            overrides={"lr": 0.5, "horizon": "keep"},
            mode="exact",
            actor="ann",
            reason="hotter",
            labels=["gpu", "big"],
            group=group,
        )
    with database.read() as connection:
        branch = runs.find_branch(connection, "demo/hot")
        fork = nodes.get(connection, launch.fork_node_id)
        segment = segments.get(connection, launch.segment_id)
        assert integrity.of_database(connection) == []
    assert (branch.head_id, branch.group_id) == (fork.id, group.id)
    assert (fork.kind, fork.parent_id, fork.state_digest) == (
        "fork",
        line[1].id,
        line[1].state_digest,
    )
    assert fork.settings["lr"] == 0.5 and "horizon" not in fork.settings
    assert (segment.status, launch.state, launch.labels) == ("waiting", "queued", ["big", "gpu"])


def test_a_name_that_is_taken_leaves_nothing(database: Database, store: Store) -> None:
    tree, line = make_forked_tree(database, store)
    with pytest.raises(NameTaken), database.transaction() as connection:
        ordering.order(
            connection,
            line[1],
            branch_name="cooler",
            overrides={},
            mode="exact",
            actor="ann",
            reason="",
        )
    with database.read() as connection:
        assert runs.branch_names(connection, tree.run.id) == {"main", "cooler"}
        assert integrity.of_database(connection) == []


def test_weights_alone_reset_the_rest(database: Database, store: Store) -> None:
    _tree, line = make_forked_tree(database, store)
    planned = ordering.fork_of(line[1], {}, "weights", "ann", "")
    assert planned.restored is not None and planned.restored["optimizer"] == "reset"
    assert ordering.fork_of(line[1], {}, "exact", "ann", "").restored is None


def test_with_the_weights_alone_a_value_equal_to_the_nodes_is_declared_too(
    database: Database, store: Store
) -> None:
    _tree, line = make_forked_tree(database, store)
    forks = {}
    for mode in ("exact", "weights"):
        with database.transaction() as connection:
            launch = ordering.order(
                connection,
                line[1],
                branch_name=mode,
                overrides={"lr": line[1].settings["lr"]},
                mode=mode,
                actor="ann",
                reason="",
            )
            forks[mode] = nodes.get(connection, launch.fork_node_id)
    assert forks["exact"].changes == ()
    assert [(change.name, change.after) for change in forks["weights"].changes] == [
        ("lr", line[1].settings["lr"])
    ]
