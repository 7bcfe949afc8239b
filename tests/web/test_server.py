"""Listening: ports that are taken, hosts that are not allowed, and a server that ends when told."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from urllib.parse import urlsplit

import pytest

from branchtrack.errors import InvalidInput, PortInUse
from branchtrack.web import server
from branchtrack.web.app import create_app
from tests.web.conftest import Site


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
        connection = http.client.HTTPConnection("127.0.0.1", where.port, timeout=20)
        connection.request("GET", "/")
        answer = connection.getresponse()
        assert answer.status == 200
        assert b"No run yet" in answer.read()
        connection.close()
    finally:
        running.close()
        thread.join(20)
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
    thread.join(20)
    connection.close()
    assert not thread.is_alive()
    assert time.monotonic() - began < 4


def test_ready_is_given_the_address(empty: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(server.Server, "run", lambda self: self._server.close())
    server.serve(empty.app, "127.0.0.1", 0, ready=seen.append)
    assert seen and seen[0].startswith("http://127.0.0.1:")
