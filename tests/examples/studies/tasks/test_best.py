"""The test loss is that of the best node, and the model goes on as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from branchtrack.db import metrics, runs, segments
from branchtrack.examples.studies.tasks import loop
from tests.examples.studies import small


@pytest.mark.parametrize(
    ("losses", "best"),
    [([0.9, 0.3, 0.5, 0.7], 1), ([0.9, 0.8, 0.5, 0.2], 3), ([0.9, 0.5, 0.5, 0.5], 1)],
    ids=["earlier", "last", "first of equal ones"],
)
def test_the_weights_of_the_best_node_are_tested(
    losses: list[float], best: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = small.home(monkeypatch, tmp_path)
    falling = small.Falling(losses)
    task = falling.task()
    loop.train(task, small.chosen())
    with database.read() as connection:
        run = runs.find_run(connection, "small")
        (segment,) = segments.list_of_run(connection, run.id)
        last = metrics.last_values(connection, [segment.id])[segment.id]
    assert last["best_loss"] == losses[best]
    assert last["test_loss"] == pytest.approx(falling.sums[best], abs=0)
    assert len({falling.sums[0], last["test_loss"]}) == 2
    assert falling.sums[-1] == small.weights_of(task.model)
    database.close()
