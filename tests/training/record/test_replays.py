"""The recording that a process was started with is read, and fitted to the training at hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.control.replays import sending
from branchtrack.db import requests, runs, segments
from branchtrack.db.engine import Database
from branchtrack.environment_variables import REPLAY_VARIABLE
from branchtrack.errors import InvalidInput
from branchtrack.training.record import replays
from tests.recordings import at, recording, text_of
from tests.trees_for_tests import DECLARED, SETTINGS, make_tree


def test_a_process_has_a_recording_if_the_variable_names_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(REPLAY_VARIABLE, " ")
    assert not replays.is_requested()
    path = tmp_path / "changes.jsonl"
    path.write_text(text_of(at(3)))
    monkeypatch.setenv(REPLAY_VARIABLE, str(path))
    assert replays.is_requested() and len(replays.requested().changes) == 1
    path.unlink()
    with pytest.raises(InvalidInput):
        replays.requested()


def test_a_training_gets_its_changes_as_requests_of_the_replay(
    database: Database, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    tree = make_tree(database, store)
    segment = tree.segment("main")
    planned = replays.plan(recording(at(3), at(0)), segment, database, None)
    with database.transaction() as connection:
        planned.record(connection, segment)
    planned.announce()
    assert "2 are requested" in caplog.text
    with database.read() as connection:
        rows = sending.asked_before(connection, planned.fitted.recording, [segment.id])
    assert [rows[line].conditions for line in (2, 3)] == [{"at_step": 3}, {"at_step": 0}]
    assert rows[2].actor.startswith("replay (") and rows[2].actor.endswith("(run)")


def test_a_training_that_resumes_leaves_out_what_was_done_and_what_has_passed(
    database: Database, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    tree = make_tree(database, store)
    root = tree.node("main", 0, kind="root")
    recorded = recording(at(3), at(10), at(10), at(12))
    planned = replays.plan(recorded, tree.segment("main"), database, None)
    with database.transaction() as connection:
        branch = runs.get_branch(connection, tree.branches["main"].id)
        rows = sending.address(connection, branch, planned.fitted, replays._actor(), "")
    node = tree.node("main", 10, root)
    finish(tree.database, rows[3].id, node.id)
    tree.branch("next", node)
    fork = tree.node("next", 10, node, kind="fork")
    left = replays.plan(recorded, replace(tree.segment("next"), step=10), database, fork)
    fitted = left.fitted
    assert [change.line for change in fitted.done] == [3]
    assert [change.line for change in fitted.passed] == [2]
    assert [entry.change.line for entry in fitted.changes] == [4, 5]
    left.announce()
    assert "1 were made before, 1 are before its step" in caplog.text


def finish(database: Database, request_id: str, node_id: str) -> None:
    """Answer a request at step 10."""
    with database.transaction() as connection:
        requests.move(connection, request_id, "applied", actor="run", step=10, node_id=node_id)


def test_what_does_not_fit_is_refused(sqlite_database: Database) -> None:
    training = replace(
        segments.new("", "", None, 0), declared=DECLARED, settings=SETTINGS, max_steps=5
    )
    with pytest.raises(InvalidInput, match="Line 2"):
        replays.plan(recording(at(6)), training, sqlite_database, None)
