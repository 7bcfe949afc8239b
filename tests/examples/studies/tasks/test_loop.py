"""A training of the studies ends when its run has used its updates, and measures the test once."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from branchtrack import control
from branchtrack.db import metrics, requests, runs, segments
from branchtrack.examples.studies.tasks import loop
from branchtrack.examples.studies.tasks.pace import Pace
from branchtrack.training.record.inbox import Inbox
from tests.examples.studies import small


def test_a_training_is_evaluated_as_it_goes_and_tested_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = small.home(monkeypatch, tmp_path)
    loop.train(small.task(), small.chosen())
    with database.read() as connection:
        run = runs.find_run(connection, "small")
        (segment,) = segments.list_of_run(connection, run.id)
        evaluated = metrics.read(connection, [segment.id], "eval_loss")[segment.id]
        tested = metrics.read(connection, [segment.id], "test_loss")[segment.id]
    assert segment.status == "finished" and segment.step == 6
    assert evaluated.steps.tolist() == [0, 2, 4, 6]
    assert (tested.steps.tolist(), tested.values.tolist()) == ([6], [0.7])
    database.close()


def test_updates_of_abandoned_branches_are_used_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = small.home(monkeypatch, tmp_path)
    # As if other branches of the run had had two updates before.
    monkeypatch.setattr("branchtrack.db.segments.trained_steps", lambda *_: 2)
    loop.train(small.task(), small.chosen())
    with database.read() as connection:
        run = runs.find_run(connection, "small")
        (segment,) = segments.list_of_run(connection, run.id)
        last = metrics.last_values(connection, [segment.id])[segment.id]
    assert segment.step == 4 and last["test_loss"] == 0.7 and segment.status == "finished"
    database.close()


def test_a_process_that_has_no_updates_left_makes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = small.home(monkeypatch, tmp_path)
    # As after a rollback that arrived at the last update.
    monkeypatch.setattr("branchtrack.db.segments.trained_steps", lambda *_: 6)
    loop.train(small.task(), small.chosen())
    with database.read() as connection:
        run = runs.find_run(connection, "small")
        (segment,) = segments.list_of_run(connection, run.id)
    assert (segment.step, segment.status) == (0, "finished")
    database.close()


def test_what_was_asked_for_at_a_look_is_done_at_the_next_update_however_late_it_arrives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = small.home(monkeypatch, tmp_path)
    arrives = Inbox.receive

    def late(inbox: Inbox, polled: Any, *moment: Any) -> Any:
        rows = list(polled)
        time.sleep(0.6 if rows else 0.0)
        return arrives(inbox, rows, *moment)

    def ask(_pace: Any, update: int) -> bool:
        if update == 2:
            control.submit(database, "small", {"kind": "checkpoint"}, actor="ann")
        return update == 2

    monkeypatch.setattr(Inbox, "receive", late)
    monkeypatch.setattr(Pace, "wait", ask)
    loop.train(small.task(), small.chosen())
    with database.read() as connection:
        run = runs.find_run(connection, "small")
        (request,) = requests.list_of_run(connection, run.id, None)
    assert (request.state, request.step) == ("done", 3)
    database.close()
