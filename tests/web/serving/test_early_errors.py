"""Programs read errors in the one shape, although the application never saw their requests."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from branchtrack.schemas.errors import ErrorAnswer
from branchtrack.web.serving import proxies
from branchtrack.web.serving.server import Server
from tests.web.conftest import Site

Exchange = Callable[[bytes], tuple[int, str, bytes]]
LONG_BODY = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n"
LARGE_HEAD = b"GET %s HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * 70_000


@pytest.fixture
def exchange(own: Site) -> Iterator[Exchange]:
    """A function that sends bytes to a server, and returns the status, type and body it answers."""
    server = Server(own.app, "127.0.0.1", 0, threads=1)
    thread = threading.Thread(target=server.run)
    thread.start()
    address = ("127.0.0.1", urlsplit(server.address).port or 0)

    def send(request: bytes) -> tuple[int, str, bytes]:
        with socket.create_connection(address, timeout=20) as connection:
            connection.sendall(request)
            answer = b""
            while part := connection.recv(4096):
                answer += part
        head, _, body = answer.partition(b"\r\n\r\n")
        kind = next(line for line in head.split(b"\r\n") if line.startswith(b"Content-Type"))
        return int(head.split()[1]), kind.decode(), body

    yield send
    server.close()
    thread.join(60)
    assert not thread.is_alive()


def problem_of(answer: tuple[int, str, bytes]) -> Any:
    status, kind, body = answer
    assert kind == "Content-Type: application/json"
    problem = ErrorAnswer.model_validate_json(body).error
    assert problem.status == status and problem.what and problem.safe and not problem.model_extra
    return problem


def test_a_body_that_is_too_long_is_refused_in_the_one_shape(exchange: Exchange) -> None:
    problem = problem_of(exchange(LONG_BODY % b"/api/v1/nodes/abcd/resume"))
    assert (problem.status, problem.type) == (413, "RequestEntityTooLarge")
    assert problem.fix == "Send at most 1 MiB."


def test_a_body_in_chunks_that_is_too_long_is_refused_in_the_one_shape(
    exchange: Exchange,
) -> None:
    head = b"POST /api/v1/rules HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    size = (1 << 20) + 2
    assert problem_of(exchange(head + b"%x\r\n" % size + b"x" * size)).status == 413


def test_a_head_that_is_too_large_is_refused_in_the_one_shape(exchange: Exchange) -> None:
    problem = problem_of(exchange(LARGE_HEAD % b"/api/v1/runs?limit=1"))
    assert (problem.status, problem.type) == (431, "RequestHeaderFieldsTooLarge")


def test_a_head_that_is_not_http_is_refused_in_the_one_shape(exchange: Exchange) -> None:
    answer = exchange(b"GET /api/v1/runs HTTP/1.1\r\nHost localhost\r\n\r\n")
    assert (problem_of(answer).status, problem_of(answer).type) == (400, "BadRequest")
    answer = exchange(b"GET http://[x/api/v1/runs HTTP/1.1\r\nHost localhost\r\n\r\n")
    assert problem_of(answer).status == 400


def test_a_page_is_answered_in_plain_text(exchange: Exchange) -> None:
    for request in (LONG_BODY % b"/theme", LARGE_HEAD % b"/runs"):
        assert exchange(request)[1].startswith("Content-Type: text/plain")


def test_a_prefix_of_the_address_is_no_part_of_the_path(own: Site, exchange: Exchange) -> None:
    proxies.mount(own.app, prefix="/branchtrack")
    for path in (b"/branchtrack/api/v1/runs", b"/api/v1/runs"):
        problem_of(exchange(LONG_BODY % path))


def test_a_fault_of_the_application_is_told_in_the_one_shape(
    own: Site, exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: Any) -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr(own.app, "wsgi_app", fail)
    request = b"GET /api/v1/runs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    problem = problem_of(exchange(request))
    assert problem.status == 500 and "RuntimeError" not in json.dumps(problem.facts)
