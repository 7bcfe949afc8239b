"""A training of the studies ends when its run has used its updates, and measures the test once."""

from __future__ import annotations

from pathlib import Path

import pytest

from branchtrack.db import metrics, runs, segments
from branchtrack.examples.studies.tasks import loop
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
