"""A branch goes on from its last node, unless something trains it; what crashed is listed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from branchtrack import control
from branchtrack.analysis import curves
from branchtrack.checkpoints.packs import Store
from branchtrack.control import continuation
from branchtrack.core.actors import Actor
from branchtrack.core.builtin_settings import MAX_STEPS
from branchtrack.core.records import Launch, Node
from branchtrack.db import integrity, nodes, runs, segments
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches, ordering, withdrawals
from branchtrack.db.tables import nodes as node_rows
from branchtrack.db.tables import runs as run_rows
from branchtrack.db.tables import segments as segment_rows
from branchtrack.errors import BranchTaken, Forbidden, InvalidInput
from tests.trees_for_tests import DECLARED, ENTRY_POINT, Tree, make_forked_tree

#: A process of a machine that nobody has heard of for a minute.
SILENT = {"process": "elsewhere:1:1", "host": "elsewhere"}


@pytest.fixture
def tree(database: Database, store: Store) -> Tree:
    """``main`` finished at step 30, and ``cooler`` still trained by this process."""
    made, _nodes = make_forked_tree(database, store)
    startable = {**ENTRY_POINT, "argv": ["python", "-c", "pass"]}
    with database.transaction() as connection:
        connection.execute(run_rows.update().values(entry_point=startable))
    made.end("main")
    return made


def leave(tree: Tree, branch: str, status: str = "running") -> None:
    """Let a branch have been left a minute ago."""
    facts = {"status": status, "heartbeat_at": time.time() - 60, **SILENT}
    where = segment_rows.c.id == tree.segment(branch).id
    with tree.database.transaction() as connection:
        connection.execute(update(segment_rows).where(where).values(**facts))


def go_on(tree: Tree, branch: str = "demo/cooler", **how: Any) -> Launch:
    return control.continue_branch(
        tree.database,
        tree.store,
        branch,
        **{"actor": "ann", **how},
    )


def head(tree: Tree, branch: str) -> Node:
    with tree.database.read() as connection:
        record = runs.find_branch(connection, branch)
        return nodes.get(connection, record.head_id or "")


@pytest.mark.parametrize("status", ["stopped", "failed", "suspended", "running"])
def test_a_branch_goes_on_from_its_last_node_under_its_own_name(tree: Tree, status: str) -> None:
    leave(tree, "cooler", status)
    before = head(tree, "demo/cooler")
    launch = go_on(tree, reason="the outage is over")
    assert (launch.kind, launch.branch, launch.node_id) == ("continue", "cooler", before.id)
    fork, segment = head(tree, "demo/cooler"), tree.segment("cooler")
    assert (fork.id, fork.kind, fork.step) == (launch.fork_node_id, "fork", before.step)
    assert (segment.id, segment.status, segment.position) == (launch.segment_id, "waiting", 1)
    with tree.database.read() as connection:
        assert len(runs.list_branches(connection, tree.run.id)) == 2
        branch = runs.find_branch(connection, "demo/cooler")
        curve = curves.branch_curve(connection, branch, "loss").series.steps.tolist()
    assert curve == list(range(1, 21))


def test_an_unpaused_branch_is_started_from_the_project_that_moved_with_its_home(
    tree: Tree, tmp_path: Path
) -> None:
    project = tmp_path / "moved"
    project.mkdir()
    (project / "train.py").write_text("pass\n")
    command = {
        "argv": ["python", "/no/such/project/train.py"],
        "cwd": "/no/such/project",
        "env": {},
        "from_home": "..",
    }
    with tree.database.transaction() as connection:
        connection.execute(run_rows.update().values(entry_point=command))
    leave(tree, "cooler", "suspended")
    request = control.submit(
        tree.database, "demo/cooler", {"kind": "unpause"}, actor="ann", home=project / "home"
    )
    with tree.database.read() as connection:
        launch = launches.get(connection, (request.result or {})["launch"])
    moved = {"argv": ["python", str(project / "train.py")], "cwd": str(project)}
    assert launch.entry_point == {**command, **moved}


def test_points_past_the_node_are_the_lost_tail_and_not_of_the_curve(tree: Tree) -> None:
    tree.points("cooler", "loss", range(21, 26))
    leave(tree, "cooler")
    go_on(tree)
    with tree.database.read() as connection:
        branch = runs.find_branch(connection, "demo/cooler")
        curve = curves.branch_curve(connection, branch, "loss").series.steps.tolist()
    assert curve == list(range(1, 21))


def test_a_branch_that_something_trains_or_will_train_is_left_alone(tree: Tree) -> None:
    with pytest.raises(InvalidInput, match="is being trained by process"):
        go_on(tree)
    leave(tree, "cooler")
    launch = go_on(tree)
    with pytest.raises(InvalidInput, match=f"waiting for launch {launch.id}"):
        go_on(tree)


def test_a_silent_process_that_still_exists_keeps_its_branch(tree: Tree) -> None:
    with tree.database.transaction() as connection:
        connection.execute(update(segment_rows).values(heartbeat_at=time.time() - 60))
    with pytest.raises(InvalidInput, match="is being trained by process"):
        go_on(tree)


def test_what_has_finished_needs_another_end(tree: Tree) -> None:
    tree.node("main", 30, head(tree, "demo"), kind="final", settings={"max_steps": 30})
    with tree.database.transaction() as connection:
        declared = [*DECLARED, MAX_STEPS.as_dict()]
        connection.execute(segment_rows.update().values(declared=declared))
    with pytest.raises(InvalidInput, match="nothing is left to do"):
        go_on(tree, "demo")
    launch = go_on(tree, "demo", settings={"max_steps": 40})
    assert launch.overrides == {"max_steps": 40}
    assert head(tree, "demo").settings["max_steps"] == 40


def test_of_two_orders_at_once_one_is_refused(tree: Tree) -> None:
    leave(tree, "cooler", "failed")
    last, node = tree.segment("cooler"), head(tree, "demo/cooler")
    go_on(tree)
    how: dict[str, Any] = {"overrides": {}, "mode": "exact", "actor": "ann", "reason": ""}
    with tree.database.transaction() as connection, pytest.raises(BranchTaken):
        branch = runs.find_branch(connection, "demo/cooler")
        ordering.order_continuation(connection, branch, last, node, **how)


def test_a_viewer_may_not_and_a_bad_number_of_restarts_is_named(tree: Tree) -> None:
    leave(tree, "cooler")
    with pytest.raises(Forbidden):
        go_on(tree, actor=Actor("eve", "viewer"))
    for retries in (-1, 101, True, "3"):
        with pytest.raises(InvalidInput, match="retries"):
            go_on(tree, retries=retries)


def test_a_launch_that_never_trained_leaves_the_branch_as_it_was(tree: Tree) -> None:
    leave(tree, "cooler", "stopped")
    before, segment = head(tree, "demo/cooler"), tree.segment("cooler")
    launch = go_on(tree)
    with tree.database.transaction() as connection:
        launches.move(connection, launch.id, "failed", "worker")
        segments.end(connection, launch.segment_id, "failed", actor="worker")
        assert withdrawals.withdraw(connection, launch, "worker")
        assert withdrawals.is_withdrawn(connection, launch)
    assert head(tree, "demo/cooler") == before and tree.segment("cooler").id == segment.id
    with tree.database.read() as connection:
        assert integrity.of_run(connection, tree.run.id) == []
    assert go_on(tree).kind == "continue"


def test_branches_whose_process_was_killed_are_listed_as_crashed(tree: Tree) -> None:
    with tree.database.read() as connection:
        assert continuation.crashed(connection) == []
    leave(tree, "cooler")
    with tree.database.read() as connection:
        assert [branch.name for branch in continuation.crashed(connection)] == ["cooler"]


@pytest.mark.parametrize("exit_code, is_crash", [(None, True), (-9, True), (1, False)])
def test_an_error_of_the_script_is_no_crash(
    tree: Tree, exit_code: int | None, is_crash: bool
) -> None:
    leave(tree, "cooler")
    launch = go_on(tree)
    with tree.database.transaction() as connection:
        segments.end(connection, launch.segment_id, "failed", actor="worker")
        launches.move(connection, launch.id, "failed", "worker", exit_code=exit_code)
        crashed = [branch.name for branch in continuation.crashed(connection)]
    assert crashed == (["cooler"] if is_crash else [])


def started(tree: Tree, launch: Launch, is_trained: bool) -> Launch:
    """Let the process of a launch have died, before or after it began to train."""
    with tree.database.transaction() as connection:
        launches.move(connection, launch.id, "starting", "worker", worker="worker")
        launch = launches.move(connection, launch.id, "running", "worker", pid=1)
        if is_trained:
            where = segment_rows.c.id == launch.segment_id
            facts = {"started_at": time.time(), "status": "failed"}
            connection.execute(update(segment_rows).where(where).values(**facts))
    return launch


def test_a_crashed_launch_is_started_again_as_often_as_was_said(tree: Tree) -> None:
    leave(tree, "cooler")
    launch = go_on(tree, retries=2)
    for left in (1, 0):
        launch = started(tree, launch, True)
        with tree.database.transaction() as connection:
            launches.move(connection, launch.id, "failed", "worker")
            segment = segments.get(connection, launch.segment_id)
            again = continuation.retry(connection, launch, segment)
        assert again is not None and (again.retries, again.retry_of) == (left, launch.id)
        assert again.branch == "cooler" and again.actor == "ann"
        launch = again
    with tree.database.transaction() as connection:
        assert continuation.retry(connection, launch, segment) is None


def test_one_that_died_before_it_trained_waits_again_itself(tree: Tree) -> None:
    leave(tree, "cooler")
    launch = started(tree, go_on(tree, retries=1), False)
    with tree.database.transaction() as connection:
        segment = segments.get(connection, launch.segment_id)
        again = continuation.retry(connection, launch, segment)
    assert again is not None
    assert (again.id, again.state, again.retries, again.worker) == (launch.id, "queued", 0, None)


def test_a_branch_that_another_process_has_continued_is_not_started_again(tree: Tree) -> None:
    leave(tree, "cooler")
    launch = started(tree, go_on(tree, retries=1), True)
    with tree.database.transaction() as connection:
        launches.move(connection, launch.id, "failed", "worker")
        failed = segments.get(connection, launch.segment_id)
    go_on(tree)
    with tree.database.transaction() as connection:
        assert continuation.retry(connection, launch, failed) is None


def failed_again(tree: Tree, launch: Launch) -> Launch | None:
    """Let the process of a launch have crashed while it trained, and order it again."""
    launch = started(tree, launch, True)
    with tree.database.transaction() as connection:
        launches.move(connection, launch.id, "failed", "worker")
        segment = segments.get(connection, launch.segment_id)
        return continuation.retry(connection, launch, segment)


def test_one_that_was_to_stop_somewhere_still_stops_there_but_a_later_one_does_not(
    tree: Tree,
) -> None:
    leave(tree, "cooler")
    step = head(tree, "demo/cooler").step
    launch = go_on(tree, retries=2, settings={"stop_at": "+5"})
    for _ in range(2):
        again = failed_again(tree, launch)
        assert again is not None and again.overrides == {"stop_at": step + 5}
        changes = head(tree, "demo/cooler").changes
        assert [(change.name, change.after) for change in changes] == [("stop_at", step + 5)]
        launch = again
    started(tree, launch, True)
    assert go_on(tree).overrides == {}


def test_one_that_a_pause_has_ended_still_stops_where_it_was_to(tree: Tree) -> None:
    leave(tree, "cooler")
    launch = started(tree, go_on(tree, settings={"stop_at": "+5"}), True)
    leave(tree, "cooler", "suspended")
    with tree.database.transaction() as connection:
        branch = runs.get_branch(connection, launch.branch_id)
        woken = continuation.wake(connection, branch, Actor("ann", "owner", "cli"), "", None)
    assert woken.overrides == launch.overrides == {"stop_at": head(tree, "demo/cooler").step + 5}


def test_one_that_has_stopped_where_it_was_to_is_not_started_again(tree: Tree) -> None:
    leave(tree, "cooler")
    launch = go_on(tree, retries=2, settings={"stop_at": "+5"})
    fork = head(tree, "demo/cooler")
    with tree.database.transaction() as connection:
        rows = node_rows.update().where(node_rows.c.id == fork.id)
        connection.execute(rows.values(kind="final", step=fork.step + 5))
    assert failed_again(tree, launch) is None
