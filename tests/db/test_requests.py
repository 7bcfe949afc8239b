"""Requests, segments and launches: every move is legal, recorded, and made once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.core.actors import Actor
from branchtrack.core.records import Request
from branchtrack.db import audit, nodes, requests, runs, segments
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches, ordering, queue
from branchtrack.errors import IllegalTransition, NameTaken
from tests.trees_for_tests import Tree, make_forked_tree, make_tree


@pytest.fixture
def tree(database: Database, store: Store) -> Tree:
    """A run that trains."""
    return make_tree(database, store)


def ask(tree: Tree) -> Request:
    with tree.database.transaction() as connection:
        branch = runs.get_branch(connection, tree.branches["main"].id)
        return requests.add(
            connection,
            branch,
            kind="set",
            payload={"values": {"lr": "1"}},
            requested={"values": {"lr": 1.0}},
            actor=Actor("me"),
            reason="why",
        )


def move(tree: Tree, request: Request, state: str, **facts: object) -> Request:
    with tree.database.transaction() as connection:
        return requests.move(connection, request.id, state, actor="run", **facts)


def test_every_move_of_a_request_is_in_the_log(tree: Tree) -> None:
    request = ask(tree)
    for state in ("accepted", "applied", "verified"):
        move(tree, request, state)
    with tree.database.read() as connection:
        log = [e for e in audit.since(connection, tree.run.id) if e.ref == request.id]
        assert audit.first_broken_seq(connection, tree.run.id) is None
    assert [event.state for event in log] == ["received", "accepted", "applied", "verified"]
    assert [event.actor for event in log] == ["me", "run", "run", "run"]


def test_an_illegal_move_changes_nothing(tree: Tree) -> None:
    request = ask(tree)
    with pytest.raises(IllegalTransition):
        move(tree, request, "verified")
    with tree.database.read() as connection:
        assert requests.get(connection, request.id).state == "received"


def test_accepted_requests_wait_in_order_of_arrival(tree: Tree) -> None:
    ordered = [ask(tree) for _ in range(3)]
    for request in reversed(ordered):
        move(tree, request, "accepted")
    move(tree, ordered[1], "applied", before={"lr": 2.0}, applied={"lr": 1.0}, step=7)
    segment = tree.segment("main").id
    with tree.database.read() as connection:
        waiting = [request.id for request in requests.waiting(connection, segment)]
        left = [request.id for request in requests.unanswered(connection, segment)]
        applied = requests.get(connection, ordered[1].id)
    assert waiting == [ordered[0].id, ordered[2].id]
    assert left == [request.id for request in ordered]
    assert (applied.before, applied.applied, applied.step) == ({"lr": 2.0}, {"lr": 1.0}, 7)


def test_an_order_makes_branch_segment_fork_node_and_launch(
    database: Database, store: Store
) -> None:
    _tree, tree_nodes = make_forked_tree(database, store)
    with database.transaction() as connection:
        launch = ordering.order(
            connection,
            tree_nodes[2],
            branch_name="hot",
            overrides={"lr": 0.5, "weight_decay": 0.0},
            mode="exact",
            actor="me",
            reason="try",
        )
        fork = nodes.get(connection, launch.fork_node_id)
        segment = segments.get(connection, launch.segment_id)
        branch = runs.get_branch(connection, launch.branch_id)
    assert (fork.parent_id, fork.step, fork.kind) == (tree_nodes[2].id, tree_nodes[2].step, "fork")
    assert fork.state_digest == tree_nodes[2].state_digest
    assert [change.as_dict() for change in fork.changes] == [
        {"name": "lr", "before": 0.02, "after": 0.5}
    ]
    assert fork.settings["lr"] == 0.5
    assert (segment.status, segment.start_node_id) == ("waiting", tree_nodes[2].id)
    assert (branch.head_id, branch.start_node_id) == (fork.id, tree_nodes[2].id)


def test_an_order_with_a_taken_name_makes_nothing(database: Database, store: Store) -> None:
    tree, tree_nodes = make_forked_tree(database, store)
    with database.read() as connection:
        before = audit.last_id(connection)
    with pytest.raises(NameTaken, match="cooler-2"), database.transaction() as connection:
        ordering.order(
            connection,
            tree_nodes[0],
            branch_name="cooler",
            overrides={},
            mode="exact",
            actor="me",
            reason="",
        )
    with database.read() as connection:
        assert audit.last_id(connection) == before
        assert launches.unfinished(connection) == []
        assert len(runs.list_branches(connection, tree.run.id)) == 2


def test_two_workers_never_claim_one_launch(database: Database, store: Store) -> None:
    _tree, tree_nodes = make_forked_tree(database, store)
    with database.transaction() as connection:
        for name in "abc":
            ordering.order(
                connection,
                tree_nodes[0],
                branch_name=name,
                overrides={},
                mode="exact",
                actor="me",
                reason="",
            )

    def claim(worker: int) -> str | None:
        with database.transaction() as connection:
            launch = queue.claim(connection, str(worker))
            return None if launch is None else launch.id

    with ThreadPoolExecutor(6) as pool:
        claimed = [launch for launch in pool.map(claim, range(6)) if launch is not None]
    assert len(claimed) == len(set(claimed)) <= 3
    with database.transaction() as connection:
        rest = 3 - len(claimed)
        assert [queue.claim(connection, "w") is not None for _ in range(3)].count(True) == rest
