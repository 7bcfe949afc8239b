"""Trouble is told in few words, however long it lasts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from branchtrack import control
from branchtrack.db import metrics
from branchtrack.errors import StorageError
from branchtrack.training.record import intervals
from branchtrack.training.record.outages import OutageLine, Outages
from tests.training.benches import Bench
from tests.training.homes import Home


def test_reasons_do_not_grow_while_a_full_disk_fails_everything(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(intervals, "FLUSH_SECONDS", 0.01)
    monkeypatch.setattr(intervals, "END_SECONDS", 0.3)
    bench, broken, done = Bench(home), [True], threading.Event()

    def failing(work: Callable[..., Any], why: str) -> Callable[..., Any]:
        def fail(*given: Any, **more: Any) -> Any:
            if broken[0]:
                raise StorageError(why)
            return work(*given, **more)

        return fail

    monkeypatch.setattr(metrics, "append", failing(metrics.append, "The disk is full."))
    monkeypatch.setattr(control, "poll", failing(control.poll, "The database failed."))
    bench.recorder.log(1, {"loss": 1.0})
    bench.recorder.do(done.set)
    for _ in range(12):
        # As a commit that waits for the one before it.
        why = f"The commit before this one still waits: {bench.recorder.hindrance}"
        bench.recorder.report("commit", StorageError(why))
        bench.recorder.jobs.wait_for(done, retry=True)
    assert bench.recorder.hindrance == "The disk is full."
    bench.recorder.report("commit", StorageError("x" * 100_000))
    assert len(bench.recorder.trouble) < 2000 and len("".join(bench.recorder.lost)) < 2000
    broken[0] = False
    bench.recorder.clear("commit")
    bench.wait(lambda: done.is_set() and not bench.recorder.trouble)
    assert bench.close() == []
    bench.database.close()


class Log:
    """An event log that may fail."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, str, int]] = []
        self.broken = False

    def __call__(self, lines: Sequence[OutageLine]) -> None:
        if self.broken:
            raise StorageError("The database failed.")
        self.lines += [(line.state, line.what, line.why, line.step) for line in lines]


def test_outages_that_overlap_are_one_in_the_event_log() -> None:
    log = Log()
    outages = Outages(log)
    assert outages.open("metrics", "full", 3) and not outages.open("record", "full", 4)
    assert str(outages) == "full" and outages.lines == ["metrics: full", "record: full"]
    assert not outages.close("metrics", 5) and outages.close("record", 6)
    assert not outages.close("record", 7) and not outages.lines
    outages.flush()
    assert log.lines == [("begun", "metrics", "full", 3), ("over", "record", "", 6)]
    assert not outages.has_unlogged


def test_lines_that_could_not_be_written_are_kept() -> None:
    log = Log()
    outages = Outages(log)
    outages.open("metrics", "full", 3)
    log.broken = True
    with pytest.raises(StorageError):
        outages.flush()
    assert outages.has_unlogged and "metrics" in outages and outages.why("metrics") == "full"
    log.broken = False
    outages.flush()
    assert log.lines == [("begun", "metrics", "full", 3)]
