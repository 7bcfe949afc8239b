"""Metric points wait in order until they are written, and none is lost by a failed write."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from branchtrack.errors import StorageError
from branchtrack.training.record import points
from branchtrack.training.record.points import LoggedPoint, Points


class Writer:
    """Keeps what it is asked to write, in the transactions it was asked for."""

    def __init__(self) -> None:
        self.written: list[list[tuple[str, int, float]]] = []
        self.broken = False

    def __call__(self, batch: Sequence[LoggedPoint]) -> None:
        if self.broken:
            raise StorageError("The database failed.")
        self.written.append([(name, step, value) for name, step, value, _ in batch])


def test_points_are_written_once_and_in_order() -> None:
    writer = Writer()
    buffer = Points(writer)
    buffer.log(1, {"loss": 0.5, "lr": 1.0})
    buffer.log(2, {"loss": 0.25})
    assert len(buffer) == 3
    buffer.flush()
    buffer.flush()
    assert writer.written == [[("loss", 1, 0.5), ("lr", 1, 1.0), ("loss", 2, 0.25)]]
    assert len(buffer) == 0


def test_many_points_are_written_in_several_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points, "TRANSACTION_POINTS", 2)
    writer = Writer()
    buffer = Points(writer)
    for step in range(5):
        buffer.log(step, {"loss": 0.0})
    buffer.flush()
    assert [len(batch) for batch in writer.written] == [2, 2, 1]


def test_points_that_could_not_be_written_are_kept() -> None:
    writer = Writer()
    buffer = Points(writer)
    buffer.log(1, {"loss": 0.5})
    writer.broken = True
    with pytest.raises(StorageError):
        buffer.flush()
    writer.broken = False
    buffer.log(2, {"loss": 0.25})
    buffer.flush()
    assert writer.written == [[("loss", 1, 0.5), ("loss", 2, 0.25)]]


def test_a_flush_is_due_by_the_clock_or_by_the_number_of_points(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(points, "FLUSH_POINTS", 2)
    buffer = Points(Writer())
    last = buffer._flushed_at
    assert not buffer.is_due(last, 0.5) and buffer.is_due(last + 1.0, 0.5)
    buffer.log(1, {"loss": 0.5, "lr": 1.0})
    assert buffer.is_due(last, 0.5)
