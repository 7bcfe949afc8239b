"""How many requests a caller may make, and what becomes of the others."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from branchtrack.db import refusals, requests, tokens
from branchtrack.web.access import guards, limits
from branchtrack.web.access.limits import Limit, Tally
from branchtrack.web.app import create_app
from tests.web.conftest import Site, client_of

ASK = "/api/v1/runs/digits/branches/main/requests"


class Clock:
    """A clock that the test sets."""

    now = 100.0

    def monotonic(self) -> float:
        """Seconds."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(limits, "time", clock)
    return clock


@pytest.fixture
def app(own: Site) -> Flask:
    return create_app(own.config, own.database, own.store, token="server")


def bearer(site: Site, role: str) -> dict[str, str]:
    with site.database.transaction() as connection:
        secret = tokens.create(connection, f"the-{role}", role, created_by="test")[1]
    return {"Authorization": f"Bearer {secret}"}


def test_a_burst_is_let_through_and_then_the_rate(clock: Clock) -> None:
    limit = Limit(rate=2.0, burst=3.0)
    assert [limit.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert limit.wait("a") == 0.5 and limit.take("b") == 0
    clock.now += 0.5
    assert limit.wait("a") == 0 and limit.take("a") == 0 and limit.take("a") == 0.5
    clock.now += 1000
    assert [limit.take("a") for _ in range(4)] == [0, 0, 0, 0.5]


def test_work_is_charged_when_it_is_done(clock: Clock) -> None:
    limit = Limit(rate=2.0, burst=10.0)
    limit.charge("a", 30.0)
    assert limit.wait("a") == 10.5 and limit.wait("b") == 0
    clock.now += 10.5
    assert limit.wait("a") == 0


def test_whoever_has_had_much_work_done_waits_and_nobody_else(own: Site, app: Flask) -> None:
    viewer = bearer(own, "viewer")
    client = client_of(app)
    assert client.get("/runs", headers=viewer).status_code == 200
    work = guards.limits(app).work
    (caller,) = work._left
    work.charge(caller, 10_000)
    answer = client.get("/runs", headers=viewer)
    assert answer.status_code == 429 and int(answer.headers["Retry-After"]) > 100
    assert client.get("/runs", headers={"Authorization": "Bearer server"}).status_code == 200
    assert list(work._left) == [caller]


def test_those_who_asked_long_ago_are_forgotten(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_MOST", 3)
    limit = Limit(rate=1.0, burst=1.0)
    for name in "abcd":
        limit.take(name)
    assert limit.wait("a") == 0 and limit.wait("d") == 1.0


def test_refusals_are_handed_on_together(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Any] = []
    tally = Tally(written.append)
    monkeypatch.setattr(limits.threading.Timer, "start", lambda _timer: None)
    for _ in range(3):
        tally.add("digits/main", "v", "RateLimited")
    tally.flush()
    tally.flush()
    assert written == [{("digits/main", "v", "RateLimited"): 3}]


def test_posts_that_are_refused_over_and_over_are_turned_away_and_counted(
    own: Site, app: Flask, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits.threading.Timer, "start", lambda _timer: None)
    headers, client = bearer(own, "viewer"), client_of(app)
    statuses = []
    for _ in range(60):
        answer = client.post(ASK, json={"kind": "pause"}, headers=headers)
        statuses.append(answer.status_code)
    assert statuses == [403] * 40 + [429] * 20 and answer.headers["Retry-After"] == "1"
    assert answer.json is not None and answer.json["error"]["status"] == 429
    assert client.get("/runs/digits", headers=headers).status_code == 200
    others = client.post(ASK, json={"kind": "pause"}, headers={"Authorization": "Bearer server"})
    assert others.status_code == 202
    guards.limits(app).tally.flush()
    run = own.lines["main"].grower.run
    with own.database.read() as connection:
        counted = refusals.of_run(connection, run.id)
        kept = requests.list_of_run(connection, run.id)
    assert {one.kind: one.count for one in counted} == {"Forbidden": 20, "RateLimited": 20}
    assert len([one for one in kept if one.state == "rejected"]) == 20
    clock.now += 1.0
    assert client.post(ASK, json={"kind": "pause"}, headers=headers).status_code == 403
    for page in ("/runs/digits/audit", "/runs/digits/branches/main/steer"):
        text = client.get(page, headers=headers).get_data(as_text=True)
        assert "20 more requests of the-viewer (viewer) were refused (RateLimited)" in text
    told = client.get("/api/v1/runs/digits/audit", headers=headers).json
    assert told is not None
    assert {one["kind"]: one["count"] for one in told["refused"]}["RateLimited"] == 20


def test_nobody_is_answered_without_end(own: Site, app: Flask, clock: Clock) -> None:
    client, headers = client_of(app), bearer(own, "viewer")
    statuses = [client.get("/icon.svg").status_code for _ in range(3)]
    assert statuses == [200] * 3
    guards.limits(app).all = Limit(rate=50.0, burst=5.0)
    statuses = [client.get("/api/v1/runs", headers=headers).status_code for _ in range(7)]
    assert statuses == [200] * 5 + [429] * 2
    statuses = [client.get("/api/v1/runs").status_code for _ in range(103)]
    assert statuses == [401] * 100 + [429] * 3
    assert client.get("/", headers={"Authorization": "Bearer server"}).status_code == 200
    clock.now += 1.0
    assert client.get("/api/v1/runs", headers=headers).status_code == 200
