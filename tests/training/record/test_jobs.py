"""Jobs are done in order, each until it is done, and waiting for one ends where it has to."""

from __future__ import annotations

import threading
import time

import pytest

from branchtrack.training.record import intervals
from branchtrack.training.record.jobs import Job, JobQueue


class Attempts:
    """Does jobs, unless it is ``broken``: then each fails."""

    def __init__(self) -> None:
        self.broken = False
        self.tries = 0
        self.queue = JobQueue(self, lambda: self.broken)

    def __call__(self, job: Job) -> bool:
        self.tries += 1
        if not self.broken:
            job()
        return not self.broken


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "POLL_SECONDS", 0.001)


def test_jobs_are_done_in_order() -> None:
    queue, done = Attempts().queue, list[int]()
    for number in range(3):
        queue.add(lambda number=number: done.append(number))
    assert len(queue) == 3 and queue.is_behind
    queue.run_pending()
    assert done == [0, 1, 2] and len(queue) == 0 and not queue.is_behind


def test_a_job_that_fails_stays_first() -> None:
    attempts, done = Attempts(), list[str]()
    attempts.broken = True
    attempts.queue.add(lambda: done.append("first"))
    attempts.queue.add(lambda: done.append("second"))
    attempts.queue.run_pending()
    assert done == [] and len(attempts.queue) == 2 and attempts.tries == 1
    attempts.broken = False
    attempts.queue.run_pending()
    assert done == ["first", "second"]


def test_a_job_may_queue_another() -> None:
    queue, done = Attempts().queue, list[str]()
    queue.add(lambda: queue.add(lambda: done.append("second")))
    queue.run_pending()
    assert done == ["second"]


def test_a_queue_that_closes_does_what_is_left() -> None:
    queue, done = Attempts().queue, threading.Event()
    queue.add(done.set)
    queue.thread.start()
    assert not queue.close() and done.is_set()
    assert not queue.thread.is_alive()


def test_the_end_of_a_queue_that_cannot_work_comes_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "END_SECONDS", 0.01)
    attempts = Attempts()
    attempts.broken = True
    attempts.queue.add(lambda: None)
    attempts.queue.thread.start()
    assert not attempts.queue.close() and len(attempts.queue) == 1 and attempts.queue.is_over


def test_closing_again_waits_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "PATIENCE_SECONDS", 0.01)
    queue, release = Attempts().queue, threading.Event()
    queue.add(lambda: release.wait(60) and None)
    queue.thread.start()
    queue.abandon()
    assert queue.close() and queue.is_over
    release.set()
    queue.thread.join(60)


def test_nothing_is_waited_for_once_the_thread_has_ended() -> None:
    queue = Attempts().queue
    queue.thread.start()
    queue.close()
    assert not queue.wait_for(threading.Event()) and not queue.wait_for_last(threading.Event())


def test_the_time_at_the_database_counts_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "PATIENCE_SECONDS", 1.0)
    queue, now = Attempts().queue, [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    queue.on_database()
    now[0] += 0.5
    assert not queue._is_blocked()
    with queue.off_database():
        now[0] += 60
        assert not queue._is_blocked()
    assert not queue._is_blocked()
    now[0] += 2
    assert queue._is_blocked()


def test_a_job_that_comes_while_the_queue_is_closed_is_not_taken() -> None:
    done: list[str] = []
    queue = Attempts().queue
    queue.thread.start()
    assert queue.add_if_open(lambda: done.append("first"))
    queue.close()
    assert not queue.add_if_open(lambda: done.append("late"))
    assert done == ["first"] and len(queue) == 0
