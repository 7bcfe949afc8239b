"""What is sent, what is tried again, and what is not."""

from __future__ import annotations

from collections.abc import Callable

import httpx2
import pytest

from branchtrack.client import connection
from branchtrack.client.connection import TRIES, Connection
from branchtrack.errors import InvalidInput, RateLimited, StorageError, Unreachable

Handler = Callable[[httpx2.Request], httpx2.Response]
URL = "http://127.0.0.1:8642"


def error(status: int, **headers: str) -> httpx2.Response:
    problem = {"type": "Refused", "what": "No.", "safe": "", "fix": "", "field": None, "facts": {}}
    return httpx2.Response(status, json={"error": {**problem, "status": status}}, headers=headers)


def connect(handler: Handler, url: str = URL, token: str | None = None) -> Connection:
    return Connection(url, token, 30.0, httpx2.MockTransport(handler))


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between tries, which take no time."""
    slept: list[float] = []
    monkeypatch.setattr(connection.time, "sleep", slept.append)
    return slept


@pytest.mark.parametrize("url", ["", "127.0.0.1:8642", "ftp://host", "http://"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="127.0.0.1"):
        Connection(url, None, 1.0)


def test_a_printed_address_is_taken_with_its_token_and_prefix() -> None:
    seen: list[httpx2.Request] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200, content=b"{}")

    connect(handler, f"{URL}/tracker/?token=bt_x").send("GET", "/runs", {"limit": 2})
    assert str(seen[0].url) == f"{URL}/tracker/api/v1/runs?limit=2"
    assert seen[0].headers["Authorization"] == "Bearer bt_x"


def test_reading_is_tried_again_when_the_server_says(pauses: list[float]) -> None:
    answers = [error(503, **{"Retry-After": "5"}), error(429, **{"Retry-After": "2"})]
    answers += [httpx2.Response(200, content=b"{}")]
    content = connect(lambda _: answers.pop(0)).send("GET", "/runs", repeatable=True)
    assert (content, pauses) == (b"{}", [5.0, 2.0])


def test_what_may_not_arrive_twice_is_sent_once(pauses: list[float]) -> None:
    sent = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        sent.append(request)
        raise httpx2.ReadTimeout("slow")

    with pytest.raises(Unreachable) as caught:
        connect(handler).send("POST", "/runs/x/gc")
    assert (len(sent), pauses, caught.value.url) == (1, [], URL)
    with pytest.raises(Unreachable):
        connect(handler).send("GET", "/runs", repeatable=True)
    assert len(sent) == 1 + TRIES and pauses == sorted(pauses)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(error(429), RateLimited), (error(503, **{"Retry-After": "3600"}), StorageError)],
)
def test_a_limit_that_time_does_not_lift_and_a_long_pause_are_not_waited_for(
    answer: httpx2.Response, kind: type[Exception], pauses: list[float]
) -> None:
    with pytest.raises(kind):
        connect(lambda _: answer).send("GET", "/runs", repeatable=True)
    assert pauses == []
