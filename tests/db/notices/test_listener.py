"""Who subscribes is woken; whatever happens to the connection, they go on and it comes back."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from branchtrack import config
from branchtrack.db.engine import Database
from branchtrack.db.notices import listener
from branchtrack.db.notices.channel import tell
from branchtrack.db.notices.listener import Listener
from tests.db.notices.ears import heard, listening, until

_OURS = "FROM pg_stat_activity WHERE application_name = 'branchtrack listening'"
_HERE = f"{_OURS} AND datname = current_database()"


@pytest.fixture
def own(postgres: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A PostgreSQL database whose listener tries again at once."""
    monkeypatch.setattr(listener, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(listener, "LONGEST_DELAY", 0.05)
    made = Database(config.load(Path("unused"), postgres).database_url)
    yield made
    made.close()


def send(database: Database, key: str) -> None:
    with database.transaction() as connection:
        tell(connection, key)


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "branchtrack"]


def test_a_notice_wakes_those_who_subscribed_to_its_key_and_no_others(own: Database) -> None:
    with listening(own, "some", "other", "some") as (first, other, second):
        send(own, "some")
        assert heard(first) and heard(second) and not other.noticed.is_set()


def test_all_of_a_process_share_one_connection_outside_the_pool(own: Database) -> None:
    with listening(own, *(f"key {number}" for number in range(20))), own.read() as connection:
        assert connection.execute(text(f"SELECT count(*) {_HERE}")).scalar_one() == 1
    assert own.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_what_was_released_is_not_woken(own: Database) -> None:
    with listening(own, "some", "some") as (first, second):
        first.release()
        first.release()
        send(own, "some")
        assert heard(second) and not first.noticed.is_set()


def test_a_connection_that_the_server_ends_comes_back(
    own: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), listening(own, "some") as (some,):
        with own.transaction() as connection:
            connection.execute(text(f"SELECT pg_terminate_backend(pid) {_HERE}"))
        # Woken because what was told meanwhile may have been missed, and again for the same reason.
        assert heard(some)
        assert until(lambda: some.is_live and "again" in " ".join(messages(caplog)))
        some.rest(0.0)
        send(own, "some")
        assert heard(some)
    assert len(messages(caplog)) == 2 and "looks more often" in messages(caplog)[0]


def test_a_refusal_is_logged_once_and_tried_again(
    own: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, attempts = Listener._connect, threading.Semaphore(0)
    refuses = True

    def refuse(self: Listener) -> Any:
        attempts.release()
        if refuses:
            raise psycopg.errors.FeatureNotSupported("LISTEN is not supported here")
        return connect(self)

    monkeypatch.setattr(Listener, "_connect", refuse)
    with caplog.at_level(logging.INFO):
        some = own.subscribe("some")
        for _ in range(3):
            assert attempts.acquire(timeout=60)
        assert not some.is_live and not some.noticed.is_set()
        (line,) = messages(caplog)
        assert "LISTEN is not supported here" in line
        refuses = False
        assert until(lambda: some.is_live)
    some.release()


def test_what_passes_no_notices_on_without_saying_so_is_noticed(
    own: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deaf(self: Listener) -> Any:
        arguments, options = own.engine.dialect.create_connect_args(own.engine.url)
        return psycopg.connect(*arguments, **options, autocommit=True)

    monkeypatch.setattr(Listener, "_connect", deaf)
    monkeypatch.setattr(listener, "TRIAL_PATIENCE", 0.05)
    with caplog.at_level(logging.INFO):
        some = own.subscribe("some")
        assert until(lambda: bool(messages(caplog)))
        assert not some.is_live
    assert "did not arrive" in messages(caplog)[0]
    some.release()


def test_a_live_connection_is_tried_again_and_again(
    own: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "TRIAL_SECONDS", 0.0)
    sent = threading.Semaphore(0)
    send_trial = Listener._send

    def counted(self: Listener, key: str) -> None:
        sent.release()
        send_trial(self, key)

    monkeypatch.setattr(Listener, "_send", counted)
    with listening(own, "some") as (some,):
        for _ in range(5):
            assert sent.acquire(timeout=60)
        assert some.is_live


def test_closing_ends_thread_and_connection_and_a_later_subscription_begins_anew(
    own: Database,
) -> None:
    for _ in range(2):
        with listening(own, "some"):
            pass
        own.close()
        names = [thread.name for thread in threading.enumerate() if thread.is_alive()]
        assert "branchtrack notices" not in names
    with own.read() as connection:
        gone = text(f"SELECT count(*) {_HERE}")
        assert until(lambda: connection.execute(gone).scalar_one() == 0)
