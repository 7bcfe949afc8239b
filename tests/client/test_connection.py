"""What is sent, what is tried again, and what is not."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from branchtrack.client import connection
from branchtrack.client.connection import (
    TRIES,
    Connection,
    in_process,
    mapping,
    seconds,
    segment,
    texts,
    whole,
)
from branchtrack.errors import (
    BranchtrackError,
    InvalidInput,
    RateLimited,
    StorageError,
    Unreachable,
)

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


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8642",
        "ftp://host",
        "http://",
        "http://[::1",
        "http://[zz]",
        "http://host:99999",
        "http://host:port",
        "http://\ud800",
        "http://host/\0",
        "http://" + "h" * 70_000,
        5,
        b"http://host",
    ],
    ids=lambda url: repr(url)[:20],
)
def test_what_is_no_address_is_refused(url: Any) -> None:
    with pytest.raises(InvalidInput, match="127.0.0.1") as caught:
        Connection(url, None, 1.0)
    assert caught.value.field == "url"


def test_an_address_that_is_refused_is_shown_without_its_token() -> None:
    with pytest.raises(InvalidInput) as caught:
        Connection("htp://127.0.0.1:8642/?token=bt_secret", None, 1.0)
    assert "bt_secret" not in f"{caught.value} {caught.value.facts}"


@pytest.mark.parametrize("token", ["sëcret", "secret\r\n", "secret\0", b"secret", 5])
def test_what_is_no_token_is_refused_and_not_shown(token: Any) -> None:
    with pytest.raises(InvalidInput, match="token") as caught:
        connect(lambda _: httpx2.Response(200), token=token)
    assert caught.value.field == "token"
    assert "cret" not in f"{caught.value.what} {caught.value.facts['value']}"


@pytest.mark.parametrize("timeout", [-1, 0, math.nan, math.inf, 1e300, 10**400, True, "1", None])
def test_what_is_no_time_out_is_refused(timeout: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        Connection(URL, None, timeout)
    assert caught.value.field == "timeout"


def test_a_closed_connection_says_so() -> None:
    connection = connect(lambda _: httpx2.Response(200))
    connection.close()
    with pytest.raises(BranchtrackError, match="closed"):
        connection.send("GET", "/runs")
    with pytest.raises(BranchtrackError, match="closed"), connection.stream("/runs", None):
        pass


def test_numbers_that_json_does_not_have_are_sent_by_their_names() -> None:
    sent: list[httpx2.Request] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        sent.append(request)
        return httpx2.Response(200, content=b"{}")

    body = {"values": {"clip": math.inf, "low": -math.inf}, "list": [math.nan], "text": "ä"}
    connect(handler).send("POST", "/x", body=body)
    assert sent[0].headers["Content-Type"] == "application/json"
    assert sent[0].content.decode() == (
        '{"values": {"clip": "Infinity", "low": "-Infinity"}, "list": ["NaN"], "text": "ä"}'
    )


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, b"x", "\ud800", 10**5000, [object()]],
    ids=["object", "set", "bytes", "surrogate", "digits", "within"],
)
def test_what_json_cannot_say_is_refused_by_its_name(value: Any) -> None:
    connection = connect(lambda _: pytest.fail("something was sent"))
    for body in ({"lr": value}, {"values": {"momentum": 0.9, "lr": value}}):
        with pytest.raises(InvalidInput) as caught:
            connection.send("POST", "/x", body=body)
        assert caught.value.field == "lr"


@pytest.mark.parametrize(
    "value",
    [object(), [1], b"x", "\ud800", "x" * 70_000, 10**5000],
    ids=["object", "list", "bytes", "surrogate", "long", "digits"],
)
def test_what_a_query_cannot_say_is_refused_by_its_name(value: Any) -> None:
    connection = connect(lambda _: pytest.fail("something was sent"))
    with pytest.raises(InvalidInput) as caught:
        connection.send("GET", "/x", {"branch": value})
    assert caught.value.field == "branch"
    with pytest.raises(InvalidInput):
        connection.send("GET", "/x", {name: "ä" * 4000 for name in "abc"})


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "../x", "x" * 70_000, "\ud800", "a\0", None, 5, b"x"],
    ids=lambda name: repr(name)[:20],
)
def test_what_names_nothing_is_no_segment_of_a_path(name: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        segment("run", name)
    assert caught.value.field == "run"


def test_a_name_is_quoted_in_a_path() -> None:
    assert segment("node", "demo@200") == "demo%40200"
    assert segment("run", "a?b#c%2e ä") == "a%3Fb%23c%252e%20%C3%A4"


def test_arguments_of_another_type_are_refused_by_their_names() -> None:
    assert mapping("values", None) == {} and mapping("values", {"lr": 1}) == {"lr": 1}
    assert texts("tags", ("a", "b")) == ["a", "b"] and whole("after", 3) == "3"
    assert seconds("wait", 2) == 2.0 and seconds("wait", math.inf) == math.inf
    refused: list[tuple[Callable[..., Any], Any]] = [(mapping, [1]), (mapping, "lr=1")]
    refused += [(texts, "good"), (texts, [1]), (texts, None)]
    refused += [(whole, -1), (whole, "ü"), (whole, 1.5), (seconds, math.nan), (seconds, "1")]
    refused += [(whole, 10**5000), (seconds, 10**5000), (seconds, -(10**5000))]
    for check, value in refused:
        with pytest.raises(InvalidInput) as caught:
            check("argument", value)
        assert caught.value.field == "argument"


def test_an_application_gets_the_path_as_wsgi_has_it() -> None:
    paths: list[bytes] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        paths.append(environ["PATH_INFO"].encode("latin-1"))
        start_response("200 OK", [])
        return [b"{}"]

    Connection(URL, None, 1.0, in_process(app)).send("GET", f"/runs/{segment('run', 'ä💥')}")
    assert paths == ["/api/v1/runs/ä💥".encode()]


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
