"""An order makes its branch in one transaction; a failed one's name can be used again."""

from __future__ import annotations

from threading import Barrier, Thread

import pytest

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import Event, Launch, Node
from branchtrack.db import audit, launches, runs, segments
from branchtrack.db.engine import Database
from branchtrack.errors import NameTaken
from tests.trees_for_tests import SETTINGS, Tree, make_forked_tree


@pytest.fixture
def forked(database: Database, store: Store) -> tuple[Tree, list[Node]]:
    return make_forked_tree(database, store)


def order(tree: Tree, node: str, name: str = "hot") -> Launch:
    return control.order_launch(tree.database, tree.store, node, actor="ann", name=name)


def fail(tree: Tree, launch: Launch, *, began: bool = False) -> None:
    """Have a launch's process end with an error, before or after it took its segment."""
    with tree.database.transaction() as connection:
        launches.move(connection, launch.id, "starting", "w")
        launches.move(connection, launch.id, "running", "w")
        if began:
            segments.take(
                connection, launch.segment_id, actor="w", declared=[], settings=SETTINGS,
                max_steps=10,
            )  # fmt: skip
        segments.end(connection, launch.segment_id, "failed", actor="w", error="no")
        launches.move(connection, launch.id, "failed", "w", error="no")


def names(tree: Tree) -> dict[str, str]:
    """The ids of the run's branches by name."""
    with tree.database.read() as connection:
        return {one.name: one.id for one in runs.list_branches(connection, tree.run.id)}


def renamed(tree: Tree) -> list[Event]:
    with tree.database.read() as connection:
        assert audit.first_break(connection, tree.run.id) is None
        found = audit.since(connection, tree.run.id)
    return [event for event in found if event.kind == "branch"]


def test_the_name_of_a_launch_that_failed_before_it_trained_can_be_used_again(
    forked: tuple[Tree, list[Node]],
) -> None:
    tree, made = forked
    failed = []
    for count in range(3):
        launch = order(tree, made[1].id)
        assert names(tree)["hot"] == launch.branch_id
        assert len(renamed(tree)) == count
        fail(tree, launch)
        failed.append(launch.branch_id)
    found = names(tree)
    assert [found["hot-failed"], found["hot-failed-2"], found["hot"]] == failed
    (first, _second) = renamed(tree)
    assert (first.ref, first.state, first.actor) == (failed[0], "renamed", "ann")
    assert first.payload == {"from": "hot", "to": "hot-failed"}
    assert "failed before it trained" in first.reason


def test_the_longest_name_can_be_used_again(forked: tuple[Tree, list[Node]]) -> None:
    tree, made = forked
    name = "x" * 80
    fail(tree, order(tree, made[1].id, name))
    order(tree, made[1].id, name)
    assert {len(found) for found in names(tree) if found.startswith("xx")} == {79, 80}


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
    assert names(tree) == before and renamed(tree) == []


def test_of_many_who_want_the_name_at_once_one_gets_it(forked: tuple[Tree, list[Node]]) -> None:
    tree, made = forked
    fail(tree, order(tree, made[1].id))
    met = Barrier(4, timeout=20)
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
    assert len(renamed(tree)) == 1
