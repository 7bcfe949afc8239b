"""Listening: ports that are taken, hosts that are not allowed, and a server that ends when told."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from branchtrack.db import tokens
from branchtrack.errors import InvalidInput, PortInUse
from branchtrack.web.access import guards
from branchtrack.web.access.limits import Limit
from branchtrack.web.app import create_app
from branchtrack.web.serving import channels, server
from tests.web.conftest import Site


@dataclass
class Running:
    """A server that answers, and its port."""

    served: server.Server
    port: int

    def open(self, head: str, *, token: bool = True, secret: str = "t") -> socket.socket:
        """A connection on which a request with that first line (and fields) was sent."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        shown = f"Authorization: Bearer {secret}\r\n" if token else ""
        connection.sendall(f"{head}\r\nHost: 127.0.0.1\r\n{shown}\r\n".encode())
        return connection

    def status(self, path: str) -> int:
        """The status of a page."""
        with self.open(f"GET {path} HTTP/1.1\r\nConnection: close") as connection:
            return int(connection.recv(100).split()[1])


def test_a_port_in_use_is_refused_with_a_way_out(empty: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse) as caught:
            server.serve(empty.app, "127.0.0.1", port)
    assert caught.value.facts["port"] == port
    assert "--port" in str(caught.value)


def test_an_open_address_without_a_token_is_refused(empty: Site) -> None:
    with pytest.raises(InvalidInput, match="token"):
        server.serve(empty.app, "0.0.0.0", 0)


def test_an_address_of_another_machine_is_refused(empty: Site) -> None:
    app = create_app(empty.config, empty.database, empty.store, token="t")
    with pytest.raises(InvalidInput) as caught:
        server.serve(app, "192.0.2.1", 0)
    assert caught.value.field == "host"


@pytest.mark.parametrize(
    ("host", "token", "shown"),
    [
        ("127.0.0.1", None, "http://127.0.0.1:8642/"),
        ("127.0.0.1", "abc", "http://127.0.0.1:8642/?token=abc"),
        ("0.0.0.0", "abc", "http://127.0.0.1:8642/?token=abc"),
        ("::1", None, "http://[::1]:8642/"),
        ("gpu-3.lab", "abc", "http://gpu-3.lab:8642/?token=abc"),
    ],
)
def test_the_address_can_be_opened_as_printed(host: str, token: str | None, shown: str) -> None:
    assert server.address(host, 8642, token) == shown


def test_port_0_is_known_before_anything_is_printed_and_pages_are_served(empty: Site) -> None:
    running = server.Server(empty.app, "127.0.0.1", 0)
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        where = urlsplit(running.address)
        assert where.port
        connection = http.client.HTTPConnection("127.0.0.1", where.port, timeout=60)
        connection.request("GET", "/")
        answer = connection.getresponse()
        assert answer.status == 200
        assert b"No run yet" in answer.read()
        connection.close()
    finally:
        running.close()
        thread.join(60)
    assert not thread.is_alive()


def test_closing_does_not_wait_for_open_streams(own: Site) -> None:
    running = server.Server(own.app, "127.0.0.1", 0)
    thread = threading.Thread(target=running.run)
    thread.start()
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(running.address).port or 0)
    connection.request("GET", "/runs/digits/events")
    answer = connection.getresponse()
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.read(6) == b": open"
    began = time.monotonic()
    running.close()
    thread.join(60)
    connection.close()
    assert not thread.is_alive()
    assert time.monotonic() - began < 30


@pytest.fixture
def running(own: Site) -> Iterator[Running]:
    """A server with a token on a port of its own."""
    app = create_app(own.config, own.database, own.store, token="t")
    served = server.Server(app, "127.0.0.1", 0)
    thread = threading.Thread(target=served.run)
    thread.start()
    yield Running(served, urlsplit(served.address).port or 0)
    served.close()
    thread.join(60)


def test_streams_hold_no_threads_and_each_hears_what_happens(own: Site, running: Running) -> None:
    before = threading.active_count()
    streams = [running.open("GET /runs/digits/events HTTP/1.1") for _ in range(server.THREADS + 4)]
    heads = [stream.recv(4000) for stream in streams]
    assert all(head.startswith(b"HTTP/1.1 200") for head in heads)
    assert threading.active_count() <= before + 1
    assert running.status("/") == 200
    own.lines["main"].commit("checkpoint", 41)
    for stream in streams:
        heard = b""
        while b"event: changed" not in heard:
            heard += stream.recv(4000)
        stream.close()


def test_connections_that_ask_for_nothing_keep_nobody_waiting(running: Running) -> None:
    half_open = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(150)]
    for connection in half_open[::2]:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
    assert running.status("/") == 200
    for connection in half_open:
        connection.close()


def test_a_head_that_does_not_come_is_not_waited_for(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "HEAD", 0.05)
    with socket.create_connection(("127.0.0.1", running.port), timeout=60) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        assert connection.recv(100) == b""


def test_a_body_beyond_what_any_form_has_is_refused_before_it_is_read(running: Running) -> None:
    head = "POST /theme HTTP/1.1\r\nContent-Length: 500000000"
    with running.open(head, token=False) as connection:
        assert b" 413 " in connection.recv(200)


def test_who_asks_too_much_is_answered_late_and_nobody_else(
    own: Site, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "QUIET", 1000.0)
    with own.database.transaction() as connection:
        _made, secret = tokens.create(connection, "looker", "viewer", created_by="ann")
    guards.limits(running.served.app).all = Limit(rate=0.001, burst=1.0)
    with running.open("GET /runs HTTP/1.1", secret=secret) as connection:
        again = f"GET /runs HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {secret}\r\n\r\n"
        answer = b""
        while b" 429 " not in answer:
            connection.sendall(again.encode())
            answer += connection.recv(1 << 16)
        connection.sendall(again.encode())
        (channel,) = running.served._server.active_channels.values()
        assert not channel.readable()
    assert running.status("/") == 200


def test_a_reader_whose_token_was_revoked_hears_no_more(own: Site, running: Running) -> None:
    with own.database.transaction() as connection:
        _made, secret = tokens.create(connection, "looker", "viewer", created_by="ann")
    stream = running.open("GET /runs/digits/events HTTP/1.1", secret=secret)
    assert stream.recv(4000).startswith(b"HTTP/1.1 200")
    with own.database.transaction() as connection:
        tokens.revoke(connection, "looker")
    with stream:
        while stream.recv(4000):
            pass


def test_ready_is_given_the_address(empty: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(server.Server, "run", lambda self: self._server.close())
    server.serve(empty.app, "127.0.0.1", 0, ready=seen.append)
    assert seen and seen[0].startswith("http://127.0.0.1:")
