"""Alerts arrive once, whichever process sends them; failures are retried, and given up."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from branchtrack.config import Config
from branchtrack.control.alerts import delivery
from branchtrack.control.alerts.delivery import Delivery, deliver, from_environment
from branchtrack.core.agents.records import Alert
from branchtrack.db import audit, integrity
from branchtrack.db.engine import Database
from branchtrack.db.schema import open_database
from branchtrack.db.watching import alerts
from branchtrack.environment_variables import (
    APPRISE_VARIABLE,
    WEBHOOK_LEVEL_VARIABLE,
    WEBHOOK_PRIVATE_VARIABLE,
    WEBHOOK_SECRET_VARIABLE,
    WEBHOOK_VARIABLE,
)
from branchtrack.errors import InvalidInput
from tests.control.alerts.conftest import Forked
from tests.control.alerts.receivers import Receiver, receiving
from tests.db.watching.rows import add_alert


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A server of this machine."""
    with receiving() as listening:
        yield listening


@pytest.fixture
def alert(database: Database, forked: Forked) -> Alert:
    """An alert that nobody has heard of."""
    with database.transaction() as connection:
        return add_alert(connection, forked[0].branches["main"])


def way_to(receiver: Receiver, **others: str) -> Delivery:
    variables = {
        WEBHOOK_VARIABLE: receiver.url,
        WEBHOOK_SECRET_VARIABLE: "s3cret",
        WEBHOOK_PRIVATE_VARIABLE: "1",
        **others,
    }
    way = from_environment(variables)
    assert way is not None
    return way


def row(database: Database, alert: Alert) -> Alert:
    with database.read() as connection:
        return alerts.get(connection, alert.id)


def test_an_alert_arrives_once_and_that_is_recorded(
    database: Database, alert: Alert, receiver: Receiver
) -> None:
    assert deliver(database, way_to(receiver)) == 1
    assert deliver(database, way_to(receiver)) == 0
    (payload,) = receiver.payloads
    assert (payload["id"], payload["run"], payload["branch"]) == (alert.id, "demo", "main")
    delivered = row(database, alert)
    assert delivered.delivered_at and delivered.delivery == {"attempts": 1, "sent": ["webhook"]}
    with database.read() as connection:
        assert integrity.of_run(connection, alert.run_id) == []


def test_only_alerts_of_the_level_are_sent(
    database: Database, alert: Alert, receiver: Receiver
) -> None:
    assert deliver(database, way_to(receiver, **{WEBHOOK_LEVEL_VARIABLE: "error"})) == 0
    assert deliver(database, way_to(receiver, **{WEBHOOK_LEVEL_VARIABLE: "info"})) == 1


def test_a_failure_is_retried_later_and_given_up_in_the_end(
    database: Database, alert: Alert, receiver: Receiver
) -> None:
    receiver.status, now = 500, time.time()
    way = way_to(receiver)
    assert deliver(database, way, now) == 0
    failed = row(database, alert)
    assert failed.delivered_at is None and failed.delivery is not None
    assert "500" in failed.delivery["error"]
    assert deliver(database, way, now + 5) == 0 and len(receiver.requests) == 1
    for attempt in range(10):
        deliver(database, way, now + 950.0 * (attempt + 1) / 10 * 3)
    gave_up = row(database, alert).delivery
    assert gave_up is not None and gave_up["gave_up"] and len(receiver.requests) == 5


def test_what_waits_or_was_given_up_holds_up_nothing_that_comes_after_it(
    database: Database, forked: Forked, receiver: Receiver
) -> None:
    now, main = time.time(), forked[0].branches["main"]
    receiver.status = 400
    with database.transaction() as connection:
        for number in range(30):
            add_alert(connection, main, key=f"refused:{number}")
    way = way_to(receiver)
    deliver(database, way, now)
    deliver(database, way, now)
    assert len(receiver.requests) == 30
    receiver.status = 204
    with database.transaction() as connection:
        later = add_alert(connection, main, key="later")
        given_up = alerts.newest(connection, 1, later.seq)[0]
        assert alerts.change_delivery(connection, given_up, {"gave_up": True})
    assert deliver(database, way, now + 1) == 1
    assert receiver.payloads[-1]["id"] == later.id


def test_after_a_failure_it_arrives_when_the_receiver_is_back(
    database: Database, alert: Alert, receiver: Receiver
) -> None:
    receiver.status, now = 503, time.time()
    deliver(database, way_to(receiver), now)
    receiver.status = 204
    assert deliver(database, way_to(receiver), now + 11) == 1


def test_of_several_processes_one_sends(
    config: Config, database: Database, alert: Alert, receiver: Receiver
) -> None:
    way = way_to(receiver)

    def send(_number: int) -> int:
        own = open_database(config)
        try:
            return deliver(own, way)
        finally:
            own.close()

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(send, range(6))) == 1
    assert len(receiver.requests) == 1


def test_the_claim_of_a_process_that_died_expires(
    database: Database, alert: Alert, receiver: Receiver
) -> None:
    now = time.time()
    with database.transaction() as connection:
        claim = {"claim": {"by": "elsewhere:1:1", "at": now}}
        assert alerts.change_delivery(connection, alert, claim)
        assert not alerts.change_delivery(connection, alert, {})
    assert deliver(database, way_to(receiver), now + 1) == 0
    assert deliver(database, way_to(receiver), now + 130) == 1


def test_what_arrived_on_one_way_is_not_sent_on_it_again(database: Database, alert: Alert) -> None:
    sent: list[str] = []

    def works(payload: Mapping[str, Any]) -> None:
        sent.append(payload["id"])

    def fails(payload: Mapping[str, Any]) -> None:
        raise OSError("no route")

    now = time.time()
    assert deliver(database, Delivery({"a": works, "b": fails}), now) == 0
    assert deliver(database, Delivery({"a": works, "b": works}), now + 20) == 1
    assert sent == [alert.id, alert.id]
    final = row(database, alert).delivery
    assert final is not None and final["sent"] == ["a", "b"]


def test_old_alerts_are_no_news(database: Database, alert: Alert, receiver: Receiver) -> None:
    assert deliver(database, way_to(receiver), time.time() + 7200) == 0
    assert receiver.requests == []


def test_no_secret_and_no_address_gets_into_rows_or_events(
    database: Database, alert: Alert, receiver: Receiver
) -> None:
    way = from_environment({WEBHOOK_VARIABLE: receiver.url, WEBHOOK_SECRET_VARIABLE: "s3cret"})
    assert deliver(database, way) == 0
    with database.read() as connection:
        texts = repr([audit.newest(connection, alert.run_id, 99), row(database, alert), way])
    assert "s3cret" not in texts and "topsecret" not in texts and "/hook" not in texts
    assert "not public" in texts


def test_the_environment_says_where_to(receiver: Receiver) -> None:
    assert from_environment({}) is None
    way = from_environment({WEBHOOK_VARIABLE: "https://example.org", APPRISE_VARIABLE: "json://x"})
    assert way is not None and sorted(way.ways) == ["apprise", "webhook"]
    assert way.levels == ("warn", "error")
    with pytest.raises(InvalidInput):
        from_environment({WEBHOOK_VARIABLE: "https://x", WEBHOOK_LEVEL_VARIABLE: "loud"})


def test_apprise_sends_too(database: Database, alert: Alert, receiver: Receiver) -> None:
    pytest.importorskip("apprise")
    address = receiver.url.replace("http", "json").partition("?")[0]
    way = from_environment({APPRISE_VARIABLE: address})
    assert deliver(database, way) == 1
    assert "loss is 9 at step 20" in str(receiver.payloads)
    assert "topsecret" not in repr(delivery.Notifier("json://topsecret"))


def test_apprise_says_what_it_does_not_know(database: Database, alert: Alert) -> None:
    pytest.importorskip("apprise")
    assert deliver(database, from_environment({APPRISE_VARIABLE: "nonsense"})) == 0
    state = row(database, alert).delivery
    assert state is not None and "does not know" in state["error"]
