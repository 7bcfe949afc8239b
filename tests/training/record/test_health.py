"""A training watches its own points; what it notices is written once, and hurts nothing."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import pytest

from branchtrack.control.alerts import raising, rules
from branchtrack.core.agents.records import Alert
from branchtrack.db.watching import alerts
from branchtrack.errors import StorageError
from branchtrack.training.record import health, intervals
from branchtrack.training.record.health import HealthRecord
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


def watching(bench: Bench, **how: Any) -> HealthRecord:
    """The health of the bench's segment, at work as in a session."""
    record = HealthRecord(bench.database, bench.segment, bench.recorder, "run", **how)
    bench.recorder.written, bench.recorder.beating = record.take, record.beat
    return record


def raised(bench: Bench) -> list[Alert]:
    with bench.database.read() as connection:
        return alerts.after(connection, 0, 1000)


def log(bench: Bench, first: int, values: list[float], name: str = "loss") -> None:
    for step, value in enumerate(values, first):
        bench.recorder.log(step, {name: value})


def test_nan_is_noticed_where_it_begins(bench: Bench) -> None:
    watching(bench)
    log(bench, 1, [1.0] * 20 + [math.nan] * 5)
    bench.wait(lambda: raised(bench))
    (alert,) = raised(bench)
    assert (alert.kind, alert.step, alert.text) == ("nan", 21, "loss is NaN since step 21")
    bench.close()
    assert len(raised(bench)) == 1


def test_what_the_last_points_show_is_written_at_the_end(bench: Bench) -> None:
    record = watching(bench)
    log(bench, 1, [1.0, math.nan])
    bench.closed = True
    assert bench.recorder.close(record.write) == []
    assert [alert.kind for alert in raised(bench)] == ["nan"]


def test_rules_that_change_are_taken_over(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_RULES_SECONDS", 0.0)
    watching(bench)
    log(bench, 1, [3.0, math.nan])
    bench.wait(lambda: raised(bench))
    rules.change_rules(bench.database, "tiny", {"targets": ["loss<2"]}, actor="ann")
    log(bench, 3, [math.nan, 1.5])
    bench.wait(lambda: len(raised(bench)) == 2)
    # NaN of before is not said again.
    assert [alert.kind for alert in raised(bench)] == ["nan", "target"]


def test_nothing_is_said_of_what_a_run_is_not_watched_for(bench: Bench) -> None:
    rules.change_rules(bench.database, "tiny", {"nan": False}, actor="ann")
    record = watching(bench)
    log(bench, 1, [math.nan] * 5)
    bench.closed = True
    bench.recorder.close(record.write)
    assert raised(bench) == []


def test_a_loop_that_stands_still_is_said_once_and_a_pause_is_none(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = [True]
    rules.change_rules(bench.database, "tiny", {"stall": 60}, actor="ann")
    record = HealthRecord(
        bench.database, bench.segment, bench.recorder, "run", is_held=lambda: held[0]
    )
    record.take([])
    begun = time.monotonic()
    monkeypatch.setattr(health.time, "monotonic", lambda: begun + 100)
    record.beat()
    held[0] = False
    monkeypatch.setattr(health.time, "monotonic", lambda: begun + 150)
    record.beat()
    monkeypatch.setattr(health.time, "monotonic", lambda: begun + 170)
    record.beat()
    record.beat()
    monkeypatch.undo()
    record.write()
    (alert,) = raised(bench)
    assert alert.kind == "stall" and alert.text == "no update for 1 min: still at step 0"


def test_what_a_script_says_is_recorded_with_level_and_step(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    record = watching(bench)
    record.say(5, "low on data", "warn", "rows", 12)
    record.say(6, ValueError("odd"), "loud", None, "no number")
    record.write()
    said = [(a.text, a.level, a.step, a.metric, a.value) for a in raised(bench)]
    assert said == [
        ("low on data", "warn", 5, "rows", 12.0),
        ("odd", "warn", 6, None, None),
    ]
    assert "loud" in caplog.text


def test_a_script_that_says_something_all_the_time_is_heard_up_to_a_limit(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "MOST", 3)
    record = watching(bench)
    for step in range(10):
        record.say(step, f"step {step}", "info", None, None)
    record.write()
    assert [alert.step for alert in raised(bench)] == [0, 1, 2]
    assert "not recorded" in raised(bench)[-1].text


def test_each_level_has_a_limit_of_its_own_and_repetitions_count_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "MOST", 3)
    record = watching(bench)
    for step in (1, 1, 1, 1, 2, 3, 4):
        record.say(step, "the same", "info", None, None)
    record.say(4, "the same", "ERROR", None, None)
    record.say(5, " ", "error", None, None)
    record.say(6, "x" * 3000, "error", None, None)
    record.write()
    said = [(alert.step, alert.level, alert.text) for alert in raised(bench)]
    assert [entry[:2] for entry in said[:5]] == [
        *((step, "info") for step in (1, 2, 3)),
        *((step, "error") for step in (4, 5)),
    ]
    assert said[4][2] == "(no text)"
    assert len(said[5][2]) == 2000 and "… (error alerts of this process" in said[5][2]


def test_what_cannot_be_written_is_written_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = watching(bench)
    fails = [True]
    whole = raising.raise_script

    def sometimes(*arguments: Any, **how: Any) -> Any:
        if fails:
            raise StorageError("full")
        return whole(*arguments, **how)

    monkeypatch.setattr(raising, "raise_script", sometimes)
    record.say(1, "first", "info", None, None)
    with pytest.raises(StorageError):
        record.write()
    fails.clear()
    bench.wait(lambda: raised(bench))
    assert [alert.text for alert in raised(bench)] == ["first"]


def test_a_defect_of_ours_neither_stops_training_nor_writes_points_twice(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    record = watching(bench)
    monkeypatch.setattr(record, "_read_rules", lambda: 1 / 0)
    log(bench, 1, [1.0, 2.0])
    assert bench.close() == []
    assert bench.points() == {1: 1.0, 2: 2.0}
    assert caplog.text.count("cannot watch this training") == 1


def test_a_crash_is_said_with_the_end_of_the_segment(bench: Bench) -> None:
    record = watching(bench)
    record.crash("ValueError: x")
    record.close()
    assert [alert.text for alert in raised(bench)] == ["training failed at step 0: ValueError: x"]


def test_an_alert_that_cannot_be_raised_costs_neither_the_others_nor_the_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Odd:
        def __str__(self) -> str:
            raise RuntimeError("odd")

    record = watching(bench)
    monkeypatch.setattr(raising, "raise_finding", lambda *arguments: 1 / 0)
    log(bench, 1, [1.0, math.nan])
    bench.wait(lambda: "cannot record an alert" in caplog.text)
    record.say(3, Odd(), "info", None, None)
    record.write()
    assert [alert.text for alert in raised(bench)] == ["(RuntimeError of a Odd)"]
    assert bench.close() == []
