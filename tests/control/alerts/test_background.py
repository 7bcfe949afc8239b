"""The thread beside a server or a training looks and sends, and survives what fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from branchtrack.config import Config
from branchtrack.control.alerts import background, rules
from branchtrack.control.alerts.background import Sender
from branchtrack.db.engine import Database
from branchtrack.db.tables import segments
from branchtrack.db.watching import alerts
from branchtrack.environment_variables import (
    WEBHOOK_LEVEL_VARIABLE,
    WEBHOOK_PRIVATE_VARIABLE,
    WEBHOOK_VARIABLE,
)
from branchtrack.errors import StorageError
from tests.control.alerts.conftest import Forked
from tests.control.alerts.receivers import receiving


def wait(met: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_work_is_done_soon_and_again_whatever_failed() -> None:
    done: list[int] = []

    def work() -> None:
        done.append(1)
        raise StorageError("full") if len(done) % 2 else OSError("gone")

    sender = Sender(work, every=0.01)
    sender.wake()
    wait(lambda: len(done) > 3)
    sender.close(60)
    count = len(done)
    time.sleep(0.05)
    assert len(done) == count


def test_what_was_called_for_last_is_done_before_the_end() -> None:
    done, free = threading.Event(), threading.Event()

    def work() -> None:
        if free.wait(60):
            done.set()

    sender = Sender(work)
    sender.wake()
    free.set()
    sender.close(60)
    assert done.is_set()


def test_one_that_was_never_needed_has_no_thread() -> None:
    before = threading.active_count()
    Sender(lambda: None).close()
    assert threading.active_count() == before


def test_a_defect_ends_the_thread_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    def work() -> None:
        raise RuntimeError("a defect")

    sender = Sender(work)
    sender.wake()
    sender.close(60)
    assert "cannot send alerts" in caplog.text


def test_beside_a_server_a_crash_is_noticed_and_sent(
    config: Config, database: Database, forked: Forked, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules.change_rules(database, "demo", {"disk": None}, actor="ann")
    gone = {"heartbeat_at": time.time() - 60, "process": "gone:1:1"}
    with database.transaction() as connection:
        chosen = segments.c.id == forked[0].segment("main").id
        connection.execute(segments.update().where(chosen).values(**gone))
    with receiving() as receiver:
        monkeypatch.setenv(WEBHOOK_VARIABLE, receiver.url)
        monkeypatch.setenv(WEBHOOK_PRIVATE_VARIABLE, "1")
        with background.looking(database, config):
            wait(lambda: receiver.requests)
        (payload,) = receiver.payloads
    assert payload["kind"] == "crash" and payload["proposal"]["step"] == 30
    with database.read() as connection:
        assert [alert.kind for alert in alerts.after(connection, 0, 9)] == ["crash"]


def test_a_delivery_that_cannot_be_is_a_warning_to_a_training(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(WEBHOOK_VARIABLE, "https://example.org/topsecret")
    monkeypatch.setenv(WEBHOOK_LEVEL_VARIABLE, "loud")
    assert background.configured() is None
    assert "loud" in caplog.text and "topsecret" not in caplog.text
