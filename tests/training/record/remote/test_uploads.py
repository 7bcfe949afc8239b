"""Uploads are done in order, and an endpoint that fails is not asked without a pause."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from branchtrack.training.record import intervals
from branchtrack.training.record.jobs import Job
from branchtrack.training.record.remote.uploads import Uploads


def succeeds(job: Job) -> bool:
    job()
    return True


def test_jobs_are_done_in_order_by_one_thread() -> None:
    uploads = Uploads(succeeds, lambda: False)
    done: list[tuple[int, bool]] = []

    def job(number: int) -> Callable[[], None]:
        return lambda: done.append((number, uploads.is_here()))

    for number in range(20):
        uploads.queue.add(job(number))
    uploads.queue.close()
    assert done == [(number, True) for number in range(20)]
    assert len(uploads) == 0 and not uploads.is_here()


def test_what_fails_is_tried_again_less_and_less_often() -> None:
    moments: list[float] = []
    enough = threading.Event()

    def fails(job: Job) -> bool:
        moments.append(time.monotonic())
        if len(moments) < 4:
            return False
        enough.set()
        return True

    uploads = Uploads(fails, lambda: 0 < len(moments) < 4)
    uploads.queue.add(lambda: None)
    assert enough.wait(60)
    uploads.queue.close()
    pauses = [later - earlier for earlier, later in zip(moments, moments[1:], strict=False)]
    assert pauses[0] >= 0.2 and pauses[1] >= 0.4 and pauses[2] >= 0.8


def test_the_end_tries_once_more_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    def fails(job: Job) -> bool:
        tries.append(1)
        return False

    monkeypatch.setattr(intervals, "END_SECONDS", 0.1)
    uploads = Uploads(fails, lambda: bool(tries))
    uploads.queue.add(lambda: None)
    while not tries:
        time.sleep(0.01)
    uploads.queue.close()
    assert len(uploads) == 1 and len(tries) >= 2
