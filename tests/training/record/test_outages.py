"""Trouble is told in few words, however long it lasts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from branchtrack import control
from branchtrack.db import metrics
from branchtrack.errors import StorageError
from branchtrack.training.record import recorder as module
from tests.training.benches import Bench
from tests.training.homes import Home


def test_reasons_do_not_grow_while_a_full_disk_fails_everything(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.01)
    monkeypatch.setattr(module, "END_SECONDS", 0.3)
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
        bench.recorder.done(done, again=True)
    assert bench.recorder.hindrance == "The disk is full."
    bench.recorder.report("commit", StorageError("x" * 100_000))
    assert len(bench.recorder.trouble) < 2000 and len("".join(bench.recorder.lost)) < 2000
    broken[0] = False
    bench.recorder.well("commit")
    bench.wait(lambda: done.is_set() and not bench.recorder.trouble)
    assert bench.close() == []
    bench.database.close()
