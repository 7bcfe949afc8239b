"""A session gets its segment together with the records that it needs, or leaves nothing."""

from __future__ import annotations

import logging
import os
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import NewNode, Node
from branchtrack.db import nodes, runs, segments
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches
from branchtrack.errors import BranchTaken
from branchtrack.training.session import beginnings
from branchtrack.training.session.beginnings import Launched, NewBranch, NewRun, SameBranch
from branchtrack.training.session.ordinals import Training
from tests.trees_for_tests import make_forked_tree, make_tree


def new_run(database: Database, name: str) -> NewRun:
    beginning = NewRun(Training(name, 1, 1, "p"), Path("/home"), None)
    with database.transaction() as connection:
        beginning.segment(connection, "me")
    return beginning


def new_branch(start: Node) -> NewBranch:
    training = Training("hotter", 1, 1, "p")
    return NewBranch(
        start, {"lr": 0.5}, "exact", "hotter", training, Path("/home"), None, "why not"
    )


def test_a_new_run_has_the_ids_that_were_planned(sqlite_database: Database) -> None:
    beginning = new_run(sqlite_database, "digits")
    with sqlite_database.read() as connection:
        run = runs.get_run(connection, beginning.planned.run_id)
        (branch,) = runs.list_branches(connection, run.id)
        assert segments.get(connection, beginning.planned.id).status == "waiting"
    assert (run.name, branch.id) == ("digits", beginning.planned.branch_id)
    assert run.training["number"] == 1 and beginning.own_branch is None


def test_a_name_that_is_taken_or_no_name_is_told(
    sqlite_database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        new_run(sqlite_database, "digits").announce()
        assert caplog.records == []
        new_run(sqlite_database, "digits").announce()
        new_run(sqlite_database, "a b").announce()
    taken, plain = (record.getMessage() for record in caplog.records)
    assert "recorded as run digits-2 (digits is taken)" in taken
    assert "'a b' is recorded as run" in plain and "taken" not in plain


def test_a_branch_of_this_process_is_ordered_and_taken_at_once(
    sqlite_database: Database, store: Store
) -> None:
    _tree, tree_nodes = make_forked_tree(sqlite_database, store)
    beginning = new_branch(tree_nodes[1])
    with sqlite_database.transaction() as connection:
        segment = beginning.segment(connection, "me")
    assert beginning.launch is not None and beginning.fork is not None
    assert (beginning.launch.state, beginning.launch.pid) == ("running", os.getpid())
    assert (beginning.fork.kind, beginning.fork.id) == ("fork", beginning.launch.fork_node_id)
    assert (segment.id, segment.start_node_id) == (beginning.launch.segment_id, tree_nodes[1].id)
    assert beginning.own_branch == "hotter"


def test_a_branch_goes_on_after_a_process_that_is_gone(
    sqlite_database: Database, store: Store
) -> None:
    tree = make_tree(sqlite_database, store)
    node = tree.node("main", 10)
    branch = replace(tree.branches["main"], head_id=node.id)
    planned = NewNode(**{field.name: getattr(node, field.name) for field in fields(NewNode)})
    planned = replace(planned, kind="fork", parent_id=node.id, segment_id="", branch_id="")
    beginning = SameBranch(branch, tree.segment("main"), node, planned)
    with sqlite_database.transaction() as connection:
        segment = beginning.segment(connection, "me")
        assert runs.get_branch(connection, branch.id).head_id == beginning.fork.id
        with pytest.raises(BranchTaken):
            beginning.segment(connection, "me")
    assert segment.position == 1 and beginning.own_branch is None


def test_a_launch_with_another_command_changes_that_of_its_run(
    sqlite_database: Database, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _tree, tree_nodes = make_forked_tree(sqlite_database, store)
    launch = control.create_launch(sqlite_database, store, tree_nodes[1].id, actor="me")
    command = {"argv": ["python", "moved.py"], "cwd": "/elsewhere", "env": {}}
    monkeypatch.setattr("branchtrack.training.record.environment.entry_point", lambda: command)

    def command_of_run(order: Any) -> Any:
        with sqlite_database.transaction() as connection:
            segment = Launched(order, tmp_path).segment(connection, "me")
            assert segment.id == launch.segment_id
            return (runs.get_run(connection, launch.run_id).entry_point or {})["argv"]

    assert command_of_run(launch) != command["argv"]
    assert command_of_run(replace(launch, entry_point=command)) == command["argv"]
    with sqlite_database.read() as connection:
        assert launches.get(connection, launch.id).state == "queued"
        assert nodes.get(connection, launch.fork_node_id).kind == "fork"


def test_a_command_is_shown_without_its_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.orig_argv", ["python", "a b.py", "--api-key", "h1dd3n"])
    shown = beginnings.shown_command()
    assert "'a b.py'" in shown and "h1dd3n" not in shown
