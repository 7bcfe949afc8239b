"""Where nodes stand: heads, what launches and processes begin with, trials, best models."""

from __future__ import annotations

import json
import zlib

from branchtrack.checkpoints.packs import Store
from branchtrack.db.engine import Database
from branchtrack.db.orders import ordering
from branchtrack.db.storage import standing
from branchtrack.db.tables import checkpoints
from tests.retention.trees import certify, chain, commit
from tests.trees_for_tests import make_tree


def test_nodes_are_listed_with_what_decides(database: Database, store: Store) -> None:
    tree = make_tree(database, store)
    line = chain(tree, count=2)
    last = commit(tree, "main", 20, line[-1], metrics={"loss": 0.5})
    with database.read() as connection:
        rows = list(standing.node_rows(connection, tree.run.id, metrics=True))
        plain = list(standing.node_rows(connection, tree.run.id, metrics=False))
        assert standing.heads(connection, tree.run.id) == {last.id}
    assert [row.id for row in rows] == [*(node.id for node in line), last.id]
    assert rows[-1].metrics == {"loss": 0.5} and plain[-1].metrics is None
    assert (rows[-1].checkpoint, rows[-1].thinned) == (last.state_digest, None)


def test_launches_and_segments_use_the_nodes_that_they_begin_with(
    database: Database, store: Store
) -> None:
    tree = make_tree(database, store)
    line = chain(tree, count=3)
    tree.branch("side", line[0])
    with database.transaction() as connection:
        order = ordering.order(
            connection, line[1], branch_name="b", overrides={}, mode="exact", actor="t", reason=""
        )
    with database.read() as connection:
        used = standing.in_use(connection, tree.run.id)
    assert used == {
        line[0].id: "start of a process",
        line[1].id: "launch",
        order.fork_node_id: "launch",
    }


def test_trials_come_with_their_steps_and_verdicts(database: Database, store: Store) -> None:
    tree = make_tree(database, store)
    line = chain(tree, count=3)
    certify(database, line[0], line[1], untested=("device cuda",))
    certify(database, line[0], line[2])
    certify(database, line[1], line[2], exact=False)
    with database.read() as connection:
        trials = standing.trials(connection, tree.run.id)
    assert [(t.first, t.last, t.exact, t.implies) for t in trials] == [
        (0, 10, True, False),
        (0, 20, True, True),
        (10, 20, False, False),
    ]
    assert {t.segment for t in trials} == {line[0].segment_id}


def test_the_step_of_the_best_model_is_read_from_the_heads(
    sqlite_database: Database, store: Store
) -> None:
    tree = make_tree(sqlite_database, store)
    head = chain(tree, count=2)[-1]
    state = {"loop": {"trainer": json.dumps({"best_global_step": 10})}}
    manifest = json.dumps({"tensors": [], "state": state})
    with sqlite_database.transaction() as connection:
        connection.execute(
            checkpoints.update()
            .where(checkpoints.c.digest == head.state_digest)
            .values(manifest=zlib.compress(manifest.encode()))
        )
    with sqlite_database.read() as connection:
        assert standing.best_steps(connection, tree.run.id) == {10}
