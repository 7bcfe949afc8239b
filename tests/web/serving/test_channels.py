"""Connections to a real server: who is slow, who comes in crowds, and who follows a run."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from branchtrack.web.events import pump, streams
from branchtrack.web.serving import channels, server
from branchtrack.web.serving.channels import Channel
from branchtrack.web.serving.server import Server
from tests.web.conftest import Site

STREAM = b"GET /runs/digits/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
HALF = b"POST /theme HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx"


class Serving:
    """A server that runs, and connections to it."""

    def __init__(self, running: Server) -> None:
        self.running, self.sockets = running, list[socket.socket]()

    def connect(self, text: bytes = b"") -> socket.socket:
        """A connection on which ``text`` was sent."""
        made = socket.create_connection(
            ("127.0.0.1", urlsplit(self.running.address).port or 0), timeout=60
        )
        made.sendall(text)
        self.sockets.append(made)
        return made

    def page(self, path: str = "/", method: str = "GET", **more: bytes) -> tuple[int, bytes]:
        """What is answered."""
        made = http.client.HTTPConnection(urlsplit(self.running.address).netloc, timeout=60)
        made.request(method, path, **more)
        answer = made.getresponse()
        told = answer.status, answer.read()
        made.close()
        return told


def until(socket_: socket.socket, part: bytes) -> bytes:
    """What is received up to ``part``; fails where the other side closes before."""
    seen = b""
    while part not in seen:
        received = socket_.recv(4096)
        assert received, seen
        seen += received
    return seen


def is_closed(socket_: socket.socket) -> bool:
    """Whether the other side closes; waits for it."""
    try:
        return socket_.recv(10) == b""
    except ConnectionError:
        return True


@pytest.fixture
def serving(own: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serving]:
    monkeypatch.setattr(pump, "POLL", 0.01)
    made = Serving(Server(own.app, "127.0.0.1", 0, threads=2))
    thread = threading.Thread(target=made.running.run)
    thread.start()
    yield made
    for one in made.sockets:
        one.close()
    made.running.close()
    thread.join(60)
    assert not thread.is_alive()


def test_streams_hold_no_thread_and_all_are_told(own: Site, serving: Serving) -> None:
    readers = [serving.connect(STREAM) for _ in range(20)]
    for reader in readers:
        assert b"Transfer-Encoding: chunked" in until(reader, b"event: progress")
    own.lines["main"].log("loss", [41], [0.5])
    for reader in readers:
        until(reader, b"[41,0.5]")
    assert serving.page()[0] == 200


def test_a_stream_ends_with_its_server_and_gives_its_place_back(
    own: Site, serving: Serving
) -> None:
    reader, other = serving.connect(STREAM), serving.connect(STREAM)
    until(reader, b": open")
    until(other, b": open")
    taken = streams.slots(own.app)._taken
    other.close()
    while sum(taken.values()) > 1:
        time.sleep(0.005)
    streams.close_all(own.app)
    until(reader, b"0\r\n\r\n")
    assert is_closed(reader) and sum(taken.values()) == 0


def test_whoever_speaks_on_a_stream_is_sent_away(serving: Serving) -> None:
    reader = serving.connect(STREAM)
    until(reader, b"event: progress")
    reader.sendall(STREAM)
    assert is_closed(reader)


@pytest.mark.parametrize("text", [b"", b"GET / HT", HALF])
def test_what_does_not_come_whole_in_time_is_closed(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, text: bytes
) -> None:
    monkeypatch.setattr(channels, "HEAD", 0.0)
    monkeypatch.setattr(channels, "WHOLE", 0.0)
    assert is_closed(serving.connect(text))


def test_bytes_that_drip_do_not_win_time() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = _channel(ours)
        channel.began = 100.0
        for at in (101.0, 105.0, 109.0):
            channel.received(b"G" if at == 101.0 else b"x")
            assert not channel.is_late(at)
        assert channel.is_late(100.0 + channels.HEAD + 0.1)


def test_a_crowd_from_one_address_makes_room_for_those_who_ask(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "MOST_EACH", 5)
    monkeypatch.setattr(channels, "_is_loopback", lambda _channel: False)
    reader = serving.connect(STREAM)
    until(reader, b"event: progress")
    crowd = [serving.connect(HALF) for _ in range(12)]
    assert serving.page()[0] == 200
    assert all(is_closed(one) for one in crowd[:5])
    assert len(serving.running._server.active_channels) <= 6


def test_more_than_a_form_may_have_is_refused_before_it_is_read(serving: Serving) -> None:
    made = serving.connect(
        b"POST /theme HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n"
    )
    assert b" 413 " in until(made, b"\r\n\r\n")


def test_the_files_of_the_process_are_raised_to_what_it_may_have() -> None:
    assert 64 <= server._connections() <= server.CONNECTIONS


def _channel(ours: socket.socket) -> Channel:
    from waitress.adjustments import Adjustments

    class Nothing:
        active_channels: dict[int, Channel] = {}

    return Channel(Nothing(), ours, ("127.0.0.1", 1), Adjustments(), map={})
