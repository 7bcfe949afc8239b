"""An order makes its branch in one transaction; a failed one's name can be used again."""

from __future__ import annotations

from threading import Barrier, Thread

import pytest

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.core import actors
from branchtrack.core.records import Event, Launch, Node
from branchtrack.db import audit, nodes, requests, runs, segments
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches, withdrawals
from branchtrack.errors import NameTaken, NotFound
from tests.trees_for_tests import SETTINGS, Tree, make_forked_tree


@pytest.fixture
def forked(database: Database, store: Store) -> tuple[Tree, list[Node]]:
    return make_forked_tree(database, store)


def order(tree: Tree, node: str, name: str = "hot") -> Launch:
    return control.create_launch(tree.database, tree.store, node, actor="ann", name=name)


def fail(tree: Tree, launch: Launch, *, began: bool = False) -> None:
    """Have a launch's process end with an error, before or after it took its segment."""
    with tree.database.transaction() as connection:
        launches.move(connection, launch.id, "starting", "w")
        launches.move(connection, launch.id, "running", "w")
        if began:
            segments.take(
                connection,
                launch.segment_id,
                actor="w",
                declared=[],
                settings=SETTINGS,
                max_steps=10,
            )
        segments.end(connection, launch.segment_id, "failed", actor="w", error="no")
        launches.move(connection, launch.id, "failed", "w", error="no")


def names(tree: Tree) -> dict[str, str]:
    """The ids of the run's branches by name."""
    with tree.database.read() as connection:
        return {one.name: one.id for one in runs.list_branches(connection, tree.run.id)}


def events(tree: Tree) -> list[Event]:
    with tree.database.read() as connection:
        assert audit.first_broken_seq(connection, tree.run.id) is None
        found = audit.since(connection, tree.run.id)
    return [event for event in found if event.kind == "branch"]


def test_the_name_of_a_launch_that_failed_before_it_trained_can_be_used_again(
    forked: tuple[Tree, list[Node]],
) -> None:
    tree, made = forked
    before, failed = names(tree), []
    for count in range(3):
        launch = order(tree, made[1].id)
        assert names(tree) == {**before, "hot": launch.branch_id}
        assert len(events(tree)) == count
        fail(tree, launch)
        failed.append(launch)
    first = events(tree)[0]
    assert (first.ref, first.state, first.actor) == (failed[0].branch_id, "withdrawn", "ann")
    assert first.payload == {
        "branch": "hot",
        "launch": failed[0].id,
        "node": failed[0].fork_node_id,
    }


def test_nothing_is_left_of_a_launch_that_was_withdrawn_but_the_record(
    forked: tuple[Tree, list[Node]],
) -> None:
    tree, made = forked
    before = names(tree)
    launch = order(tree, made[1].id)
    other = order(tree, made[1].id, "other")
    fail(tree, launch)
    with tree.database.transaction() as connection:
        assert withdrawals.withdraw(connection, launches.get(connection, launch.id), "w")
        assert not withdrawals.withdraw(connection, launches.get(connection, launch.id), "w")
    with tree.database.read() as connection:
        kept = launches.get(connection, launch.id)
        assert (kept.state, kept.error, kept.branch) == ("failed", "no", "hot")
        assert withdrawals.is_withdrawn(connection, kept)
        assert launches.branch_name(connection, kept) == "hot"
        assert launches.branch_name(connection, other) == "other"
        for find, ref in ((nodes.get, launch.fork_node_id), (segments.get, launch.segment_id)):
            with pytest.raises(NotFound):
                find(connection, ref)
        assert audit.unlogged_changes(connection, tree.run.id) == []
    assert names(tree) == {**before, "other": other.branch_id}
    # Another branch may follow: places are not given twice.
    order(tree, made[1].id, "third")


@pytest.mark.parametrize("what", ["queued", "began", "has a child", "has a request"])
def test_what_has_begun_or_is_referred_to_is_not_withdrawn(
    forked: tuple[Tree, list[Node]], what: str
) -> None:
    tree, made = forked
    launch = order(tree, made[1].id)
    if what == "has a request":
        with tree.database.transaction() as connection:
            branch = runs.get_branch(connection, launch.branch_id)
            requests.add(
                connection,
                branch,
                kind="note",
                payload={},
                requested={},
                actor=actors.of("me"),
                reason="",
                step=None,
            )
    if what != "queued":
        fail(tree, launch, began=what == "began")
    if what == "has a child":
        order(tree, launch.fork_node_id, "child")
    with tree.database.transaction() as connection:
        assert not withdrawals.withdraw(connection, launches.get(connection, launch.id), "w")
    assert "hot" in names(tree)


def test_a_failed_branch_that_is_referred_to_gives_up_its_name_alone(
    forked: tuple[Tree, list[Node]],
) -> None:
    tree, made = forked
    name = "x" * 80
    launch = order(tree, made[1].id, name)
    with tree.database.transaction() as connection:
        requests.add(
            connection,
            runs.get_branch(connection, launch.branch_id),
            kind="note",
            payload={},
            requested={},
            actor=actors.of("me"),
            reason="",
            step=None,
        )
    fail(tree, launch)
    order(tree, made[1].id, name)
    assert {len(found) for found in names(tree) if found.startswith("xx")} == {79, 80}
    (event,) = events(tree)
    assert event.state == "renamed" and "failed before it trained" in event.reason


@pytest.mark.parametrize("what", ["queued", "began", "has a child", "was not launched"])
def test_a_branch_with_anything_of_its_own_keeps_its_name(
    forked: tuple[Tree, list[Node]], what: str
) -> None:
    tree, made = forked
    name = "cooler" if what == "was not launched" else "hot"
    if name == "hot":
        launch = order(tree, made[1].id)
        if what != "queued":
            fail(tree, launch, began=what == "began")
        if what == "has a child":
            order(tree, launch.fork_node_id, "child")
    before = names(tree)
    with pytest.raises(NameTaken):
        order(tree, made[1].id, name)
    assert names(tree) == before and events(tree) == []


def test_of_many_who_want_the_name_at_once_one_gets_it(forked: tuple[Tree, list[Node]]) -> None:
    tree, made = forked
    fail(tree, order(tree, made[1].id))
    met = Barrier(4, timeout=60)
    got: list[str | None] = []

    def work() -> None:
        met.wait()
        try:
            got.append(order(tree, made[1].id).branch_id)
        except NameTaken:
            got.append(None)

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = (one for one in got if one is not None)
    assert len(got) == 4 and names(tree)["hot"] == winner
    assert len(events(tree)) == 1
