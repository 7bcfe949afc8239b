"""The recorder writes what it is given, once and in order, and survives whatever fails."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from branchtrack import control
from branchtrack.db import audit, metrics, requests
from branchtrack.errors import DatabaseUnreadable, StorageError
from branchtrack.training.record import intervals, points
from branchtrack.training.record.watches import StoreWatch
from tests.training.benches import Bench
from tests.training.homes import Home


@pytest.fixture(autouse=True)
def _short_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "END_SECONDS", 0.3)


@pytest.fixture
def bench(home: Home) -> Iterator[Bench]:
    """A recorder at work."""
    made = Bench(home)
    yield made
    if not made.closed:
        made.close()
    made.database.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between attempts."""
    monkeypatch.setattr(intervals, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(intervals, "FLUSH_SECONDS", 0.01)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


def test_points_are_written_within_a_second(bench: Bench) -> None:
    bench.recorder.log(1, {"loss": 0.5, "lr": 1e-3})
    bench.wait(lambda: bench.points())
    assert bench.points() == {1: 0.5} and bench.points("lr") == {1: 1e-3}
    assert bench.close() == []


def test_closing_writes_what_is_left(bench: Bench) -> None:
    for step in range(1, 2500):
        bench.recorder.log(step, {"loss": float(step)})
    assert bench.close() == []
    assert bench.points() == {step: float(step) for step in range(1, 2500)}


def test_many_points_are_written_in_several_transactions(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    append = metrics.append

    def counting(connection: Any, segment: str, points: Any, ids: Any) -> None:
        sizes.append(len(points))
        append(connection, segment, points, ids)

    monkeypatch.setattr(metrics, "append", counting)
    monkeypatch.setattr(points, "TRANSACTION_POINTS", 100)
    for step in range(450):
        bench.recorder.log(step, {"loss": 1.0})
    bench.close()
    assert max(sizes) <= 100 and sum(sizes) == 450 and len(bench.points()) == 450


def test_jobs_are_done_in_order(bench: Bench) -> None:
    done: list[int] = []
    for number in range(50):
        bench.recorder.do(lambda number=number: done.append(number))
    bench.close()
    assert done == list(range(50))


def test_the_last_job_comes_behind_all_others_and_the_heartbeat(bench: Bench) -> None:
    seen: list[Any] = []
    bench.recorder.step = 7
    bench.recorder.do(lambda: seen.append("job"))
    bench.closed = True
    bench.recorder.close(lambda: seen.append(bench.row().step))
    assert seen == ["job", 7]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("error", [StorageError("full"), DatabaseUnreadable("no database")])
def test_a_job_that_storage_fails_is_tried_until_it_works(
    error: Exception, bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[int] = []

    def job() -> None:
        tries.append(1)
        if len(tries) < 4:
            raise error

    behind = threading.Event()
    bench.recorder.do(job)
    bench.recorder.do(behind.set)
    assert behind.wait(60) and len(tries) == 4
    assert len(warnings(caplog)) == 1 and str(error) in warnings(caplog)[0]
    bench.wait(lambda: not bench.recorder.trouble)
    assert bench.close() == []


def test_a_job_that_takes_long_holds_up_nothing_else(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "HEARTBEAT_SECONDS", 0.05)
    release = threading.Event()
    bench.recorder.do(lambda: release.wait(60) and None)
    bench.recorder.step = 3
    bench.recorder.log(1, {"loss": 1.0})
    request = bench.home.ask("checkpoint")
    bench.wait(lambda: bench.recorder.inbox.waiting and bench.row().step == 3 and bench.points())
    assert [r.id for r in bench.recorder.inbox.take()] == [request.id]
    release.set()
    assert bench.close() == []


@pytest.mark.usefixtures("quick")
def test_trouble_is_told_again_after_all_was_well(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    for time_round in (1, 2):
        failed = threading.Event()

        def job(failed: threading.Event = failed) -> None:
            if not failed.is_set():
                failed.set()
                raise StorageError("full")

        bench.recorder.do(job)
        bench.wait(lambda n=time_round: len(warnings(caplog)) == n)
        bench.wait(lambda: not bench.recorder.trouble)
    assert len(warnings(caplog)) == 2


@pytest.mark.usefixtures("quick")
def test_a_defect_of_ours_costs_its_job_alone_and_is_told_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    def defect() -> None:
        raise KeyError("oops")

    behind = threading.Event()
    for job in (defect, defect, behind.set):
        bench.recorder.do(job)
    assert behind.wait(60)
    assert bench.recorder.jobs.wait_for(behind)
    told = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert len(told) == 1 and told[0].exc_info is not None
    assert any("oops" in line for line in bench.close())


def test_waiting_for_a_job_ends_where_jobs_cannot_be_done(bench: Bench) -> None:
    event = threading.Event()

    def job() -> None:
        raise StorageError("full")

    bench.recorder.do(job)
    bench.recorder.do(event.set)
    started = time.monotonic()
    assert not bench.recorder.jobs.wait_for(event)
    assert not bench.recorder.jobs.wait_for(event) and time.monotonic() - started < 30
    lost = bench.close()
    assert any("full" in line for line in lost) and any("2 records" in line for line in lost)


def test_a_patient_wait_has_it_tried_once_more(bench: Bench) -> None:
    event, mended = threading.Event(), threading.Event()

    def job() -> None:
        if not mended.is_set():
            raise StorageError("full")
        event.set()

    bench.recorder.do(job)
    bench.wait(lambda: bench.recorder.trouble)
    assert not bench.recorder.jobs.wait_for(event, retry=True)
    mended.set()
    assert bench.recorder.jobs.wait_for(event, retry=True)


def test_each_request_is_found_once_and_in_order(bench: Bench) -> None:
    asked = [bench.home.ask("checkpoint").id for _ in range(3)]
    bench.wait(lambda: len(bench.recorder.inbox.pending) == 3)
    assert bench.recorder.inbox.waiting
    assert [request.id for request in bench.recorder.inbox.take()] == asked
    assert not bench.recorder.inbox.waiting
    time.sleep(3 * intervals.POLL_SECONDS)
    assert bench.recorder.inbox.take() == [] and not bench.recorder.inbox.waiting


def test_requests_that_are_ended_before_they_are_taken_are_dropped(bench: Bench) -> None:
    request = bench.home.ask("checkpoint")
    bench.wait(lambda: bench.recorder.inbox.waiting)
    with bench.home.database.transaction() as connection:
        requests.move(connection, request.id, "cancelled", actor="ann")
    bench.wait(lambda: not bench.recorder.inbox.waiting)
    assert bench.recorder.inbox.take() == []


def test_the_heartbeat_tells_step_rate_and_settings(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "HEARTBEAT_SECONDS", 0.05)
    bench.recorder.settings = {"lr": 0.5}
    bench.recorder.step = 5
    bench.wait(lambda: bench.row().step == 5)
    assert bench.row().settings == {"lr": 0.5} and (bench.row().rate or 0) > 0
    before = bench.row().heartbeat_at
    bench.wait(lambda: bench.row().heartbeat_at != before)


def companions(path: Path) -> list[Path]:
    """A database's file and those that SQLite keeps beside it."""
    return [p for p in (path, Path(f"{path}-wal"), Path(f"{path}-shm")) if p.exists()]


@pytest.mark.usefixtures("quick")
def test_a_database_that_is_moved_away_and_back_misses_nothing(
    bench: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench.recorder.log(1, {"loss": 1.0})
    bench.wait(lambda: bench.points())
    path = bench.home.config.home / "branchtrack.db"
    (tmp_path / "away").mkdir()
    for file in companions(path):
        file.rename(tmp_path / "away" / file.name)
    bench.recorder.log(2, {"loss": 2.0})
    bench.wait(lambda: bench.recorder.trouble)
    for file in companions(tmp_path / "away" / path.name)[::-1]:
        file.rename(path.with_name(file.name))
    bench.wait(lambda: not bench.recorder.trouble)
    assert bench.close() == [] and bench.points() == {1: 1.0, 2: 2.0}
    assert len(warnings(caplog)) == 1 and "is gone" in warnings(caplog)[0]


@pytest.mark.usefixtures("quick")
def test_checkpoints_that_are_moved_away_are_missed_at_once(
    bench: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "HEARTBEAT_SECONDS", 0.01)
    store = bench.home.config.store
    watch = StoreWatch(bench.home.store)
    watch.newest = "ab" * 16
    pack = Path(bench.home.store.describe(watch.newest))
    pack.parent.mkdir(parents=True)
    pack.touch()
    bench.recorder.check_store = watch.check
    for path in (pack, store):
        path.rename(tmp_path / "away")
        bench.wait(lambda: bench.recorder.trouble)
        (tmp_path / "away").rename(path)
        bench.wait(lambda: not bench.recorder.trouble)
    assert bench.close() == []
    assert [text for text in warnings(caplog) if "is gone" not in text] == []
    assert [event.state for event in bench.home.events("trouble")] == ["begun", "over"] * 2


@pytest.mark.usefixtures("quick")
def test_a_copy_put_in_place_of_the_database_is_written_to(bench: Bench, tmp_path: Path) -> None:
    bench.recorder.log(1, {"loss": 1.0})
    bench.wait(lambda: bench.points())
    path, copy = bench.home.config.home / "branchtrack.db", tmp_path / "copy.db"
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    bench.home.database.close()
    for file in companions(path):
        file.unlink()
    bench.recorder.log(2, {"loss": 2.0})
    bench.wait(lambda: bench.recorder.trouble)
    copy.rename(path)
    bench.wait(lambda: not bench.recorder.trouble)
    assert bench.close() == [] and bench.points() == {1: 1.0, 2: 2.0}


def test_what_cannot_be_written_is_told_at_the_end(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise StorageError("The disk is full.")

    monkeypatch.setattr(metrics, "append", full)
    bench.recorder.log(1, {"loss": 1.0, "lr": 2.0})
    lost = bench.close()
    assert any("disk is full" in line for line in lost)
    assert any("2 metric points" in line for line in lost)
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR] == [
        f"branchtrack could not record everything: {line}" for line in lost
    ]


def test_a_request_is_found_although_the_first_look_at_it_failed(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    poll, failed = control.poll, threading.Event()

    def failing(*given: Any) -> Any:
        if poll(*given) and not failed.is_set():
            failed.set()
            raise StorageError("locked")
        return poll(*given)

    monkeypatch.setattr(control, "poll", failing)
    bench = Bench(home)
    request = home.ask("checkpoint")
    bench.wait(lambda: bench.recorder.inbox.waiting)
    assert failed.is_set() and [r.id for r in bench.recorder.inbox.take()] == [request.id]
    bench.close()
    bench.database.close()


@pytest.mark.usefixtures("quick")
def test_requests_are_not_read_again_while_nobody_writes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    poll = control.poll
    monkeypatch.setattr(control, "poll", lambda *given: looks.append(1) or poll(*given))
    bench.wait(lambda: bench.recorder._changes._looked)
    time.sleep(0.2)
    before = len(looks)
    bench.recorder.log(1, {"loss": 1.0})
    bench.wait(bench.points)
    time.sleep(0.1)
    assert len(looks) == before, "what the recorder itself writes is no news"
    bench.home.ask("checkpoint")
    bench.wait(lambda: bench.recorder.inbox.waiting)
    assert len(looks) > before


def test_polling_knows_no_request_of_another_segment(bench: Bench) -> None:
    bench.home.ask("checkpoint")
    assert control.poll(bench.home.database, "0" * 16) == []


@pytest.mark.usefixtures("quick")
def test_when_trouble_began_and_ended_is_told_in_the_event_log(bench: Bench) -> None:
    bench.recorder.step = 3
    bench.recorder.report("commit", StorageError("The disk is full."))
    bench.recorder.report("commit", StorageError("The disk is still full."))
    bench.wait(lambda: bench.home.events("trouble"))
    bench.recorder.step = 5
    bench.recorder.clear("commit")
    assert bench.close() == []
    told = [(e.state, e.step, e.reason, e.ref) for e in bench.home.events("trouble")]
    assert told == [
        ("begun", 3, "The disk is full.", bench.segment),
        ("over", 5, "", bench.segment),
    ]
    assert bench.home.chain_break() is None


@pytest.mark.usefixtures("quick")
def test_trouble_with_the_database_itself_is_told_once_it_is_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise StorageError("The database failed.")

    monkeypatch.setattr(metrics, "append", fail)
    monkeypatch.setattr(audit, "append", fail)
    bench.recorder.log(1, {"loss": 1.0})
    bench.wait(lambda: bench.recorder.trouble)
    monkeypatch.undo()
    bench.wait(lambda: not bench.recorder.trouble)
    assert bench.close() == []
    assert [event.state for event in bench.home.events("trouble")] == ["begun", "over"]
    assert bench.home.events("trouble")[0].reason == "The database failed."


def test_trouble_that_lasts_to_the_end_is_not_over(bench: Bench) -> None:
    bench.recorder.report("commit", StorageError("The disk is full."))
    assert bench.close() == ["commit: The disk is full."]
    assert [event.state for event in bench.home.events("trouble")] == ["begun"]


def test_waiting_ends_when_the_database_has_kept_a_job_waiting_too_long(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "PATIENCE_SECONDS", 0.1)
    event, release = threading.Event(), threading.Event()
    bench.recorder.do(lambda: release.wait(60) and event.set())
    assert not bench.recorder.jobs.wait_for(event)
    release.set()
    assert event.wait(60)


def test_waiting_goes_on_while_a_job_is_not_at_the_database(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "PATIENCE_SECONDS", 0.1)
    event = threading.Event()

    def job() -> None:
        with bench.recorder.jobs.off_database():
            time.sleep(0.4)
        event.set()

    bench.recorder.do(job)
    assert bench.recorder.jobs.wait_for(event)


def test_points_are_written_before_each_job_also_of_one_batch(bench: Bench) -> None:
    seen: list[Any] = []

    def job(step: int) -> None:
        seen.append(list(bench.points()))
        # What follows is logged, and asked for, while this job is done.
        bench.recorder.log(step + 1, {"loss": 1.0})
        if step < 3:
            bench.recorder.do(lambda: job(step + 1))

    with bench.recorder._points._flushing:
        # The other thread cannot write them meanwhile.
        bench.recorder.log(1, {"loss": 1.0})
        bench.recorder._points._flushed_at = time.monotonic() + 60
    bench.recorder.do(lambda: job(1))
    bench.wait(lambda: len(seen) == 3)
    assert seen == [[1], [1, 2], [1, 2, 3]]


@pytest.mark.usefixtures("quick")
def test_no_job_is_done_while_points_cannot_be_written(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, broken, done = metrics.append, [True], threading.Event()

    def failing(*given: Any) -> None:
        if broken[0]:
            raise StorageError("The database failed.")
        append(*given)

    monkeypatch.setattr(metrics, "append", failing)
    bench.recorder.log(1, {"loss": 1.0})
    bench.recorder.do(lambda: done.set() if bench.points() else None)
    bench.wait(lambda: bench.recorder.trouble)
    assert not bench.recorder.jobs.wait_for(done) and not done.is_set()
    broken[0] = False
    assert done.wait(60) and bench.close() == []


def test_the_end_waits_for_a_database_that_fails_for_a_moment(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "END_SECONDS", 10.0)
    append, tries = metrics.append, [0]

    def failing(*given: Any) -> None:
        tries[0] += 1
        if tries[0] < 4:
            raise StorageError("The database failed.")
        append(*given)

    monkeypatch.setattr(metrics, "append", failing)
    bench.recorder.log(1, {"loss": 1.0})
    assert bench.close() == [] and bench.points() == {1: 1.0}


def test_a_loop_that_is_interrupted_comes_to_one_control_point(bench: Bench) -> None:
    bench.recorder.inbox.interrupt()
    assert bench.recorder.inbox.waiting and bench.recorder.inbox.wait(1)
    bench.home.ask("evaluate")
    bench.wait(lambda: bench.recorder.inbox.pending)
    assert len(bench.recorder.inbox.take()) == 1 and not bench.recorder.inbox.waiting
