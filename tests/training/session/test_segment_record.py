"""What a session records of its segment is written by its recorder, in order."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from branchtrack.core.records import Request
from branchtrack.db import requests
from branchtrack.training.record import code, environment
from branchtrack.training.record.code import Code, Reading
from branchtrack.training.session.segment_record import SegmentRecord
from branchtrack.training.steer.answers import Answer
from tests.training.benches import Bench
from tests.training.homes import Home


@pytest.fixture
def bench(home: Home) -> Iterator[Bench]:
    """A recorder at work."""
    opened = Bench(home)
    yield opened
    if not opened.closed:
        opened.close()
    opened.database.close()


@pytest.fixture
def record(bench: Bench) -> SegmentRecord:
    return SegmentRecord(
        bench.database, bench.row(), bench.recorder, "run (me)", environment.surroundings()
    )


def applied(bench: Bench, kind: str, **payload: object) -> Request:
    """A request that the loop has carried out."""
    request = bench.home.ask(kind, **payload)
    with bench.database.transaction() as connection:
        return requests.move(connection, request.id, "applied", actor="run (me)", step=1)


def test_a_held_loop_is_recorded_as_held(bench: Bench, record: SegmentRecord) -> None:
    record.hold(True, 3, "ann")
    bench.wait(lambda: bench.row().status == "paused")
    record.hold(False, 3, "ann")
    bench.wait(lambda: bench.row().status == "running")


def test_a_reverted_change_is_superseded_once(bench: Bench, record: SegmentRecord) -> None:
    request = applied(bench, "set", values={"lr": 0.5})
    record.supersede([Answer(request), Answer(request)], 4)
    record.supersede([], 5)
    bench.close()
    found = bench.home.request(request.id)
    assert (found.state, found.step) == ("superseded", 4)


def test_a_stop_that_the_loop_ignores_has_failed(bench: Bench, record: SegmentRecord) -> None:
    stop, other = applied(bench, "stop"), applied(bench, "set", values={"lr": 0.5})
    record.fail_stops("The loop continues.")
    bench.close()
    found = bench.home.request(stop.id)
    assert (found.state, found.error) == ("failed", "The loop continues.")
    assert bench.home.request(other.id).state == "applied"


def test_the_end_answers_what_waits_but_for_one(bench: Bench, record: SegmentRecord) -> None:
    waiting, spared = bench.home.ask("checkpoint"), bench.home.ask("checkpoint")
    bench.close()
    with bench.database.transaction() as connection:
        record.end(connection, "finished", None, spare=spared.id)
    assert bench.home.request(waiting.id).state == "expired"
    assert bench.home.request(spared.id).state != "expired"
    assert bench.row().status == "finished"


def test_code_that_is_read_late_is_written_with_the_end_and_nothing_is_lost(
    bench: Bench, record: SegmentRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    closing = threading.Event()

    def read() -> Code:
        closing.wait()
        return Code({"command": "train.py"}, {})

    def end() -> None:
        closing.set()
        with bench.database.transaction() as connection:
            record.end(connection, "finished", None, spare=None)

    monkeypatch.setattr(code, "read", read)
    reading = Reading()
    record.record_code(reading)
    reading.start()
    bench.closed = True
    assert bench.recorder.close(end) == []
    assert (bench.row().code or {})["command"] == "train.py"
