"""Listening: the port is taken before anything is promised, then waitress serves.

Threads are many because each open event stream holds one. It knows no page.
"""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from flask import Flask
from waitress.channel import HTTPChannel  # type: ignore[import-untyped]
from waitress.server import create_server  # type: ignore[import-untyped]
from waitress.task import ThreadedTaskDispatcher  # type: ignore[import-untyped]

from branchtrack.errors import InvalidInput, PortInUse
from branchtrack.web import security, streams

#: Streams may hold half of the threads; the other half answers pages.
THREADS = 32


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes any free one.

    Raises:
        PortInUse: another process listens there. InvalidInput: not an address of this machine.
    """
    try:
        family, kind, protocol, _name, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, OverflowError, UnicodeError) as error:
        raise InvalidInput("host", host, "a name or address of this machine") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(host, port) from error
        field, value = ("port", port) if error.errno == errno.EACCES else ("host", host)
        allowed = "a port of 1024 or more" if field == "port" else "an address of this machine"
        raise InvalidInput(field, value, allowed) from error
    return listener


def address(host: str, port: int, token: str | None = None) -> str:
    """The address to open in a browser; with a token it is one that lets in once."""
    name = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "[::1]"}.get(host, host)
    name = f"[{name}]" if ":" in name and not name.startswith("[") else name
    return f"http://{name}:{port}/" + (f"?token={quote(token, safe='')}" if token else "")


class Server:
    """A server whose port is taken; ``address`` is what to open.

    Raises:
        PortInUse: another process listens there.
        InvalidInput: the host cannot be bound, or others can reach it and there is no token.
    """

    def __init__(self, app: Flask, host: str, port: int, threads: int = THREADS) -> None:
        token = app.config["BRANCHTRACK_TOKEN"]
        if token is None and not security.is_loopback(host):
            raise InvalidInput(
                "host", host, "127.0.0.1, or another address together with a token",
                what=f"Without a token this server may not listen on {host}: "
                "whoever reaches it could steer runs.",
            )  # fmt: skip
        listener = bind(host, port)
        security.trust_host(app, host)
        self.app = app
        self.address = address(host, listener.getsockname()[1], token)
        self._left: list[Any] = []
        self._pulled = threading.Event()
        self._pulled.set()
        self._dispatcher = _Dispatcher(app)
        self._dispatcher.set_thread_count(threads)
        # The lookahead lets a stream notice that its reader has left.
        self._server = create_server(
            app, _dispatcher=self._dispatcher, sockets=[listener], threads=threads,
            channel_request_lookahead=1, ident=None,
        )  # fmt: skip

    def run(self) -> None:
        """Serve until interrupted or closed."""
        try:
            self._server.run()
        finally:
            # Threads wake the loop through a pipe: they must be done before it is closed, or they
            # would write into whatever has its number by then.
            self._dispatcher.shutdown()
            self._pulled.wait()
            for channel in (*self._left, *self._server._map.copy().values()):
                if isinstance(channel, HTTPChannel):
                    channel.handle_close()
            self._server.close()

    def close(self) -> None:
        """End `run`, from any thread."""
        streams.close_all(self.app)
        self._pulled.clear()
        try:
            self._server.trigger.pull_trigger(self._leave)
        finally:
            self._pulled.set()

    def _leave(self) -> None:
        # The loop runs for as long as its map has anything in it.
        self._left = list(self._server._map.values())
        self._server._map.clear()


def serve(
    app: Flask,
    host: str,
    port: int,
    threads: int = THREADS,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until interrupted. ``ready`` is given the address once the port is taken.

    Raises:
        PortInUse, InvalidInput: as `Server`; nothing was started.
    """
    server = Server(app, host, port, threads)
    if ready is not None:
        ready(server.address)
    server.run()


class _Dispatcher(ThreadedTaskDispatcher):  # type: ignore[misc]
    """Ends the event streams first; otherwise an interrupt would wait for each of them."""

    def __init__(self, app: Flask) -> None:
        super().__init__()
        self.app = app

    def shutdown(self, cancel_pending: bool = True, timeout: float = 5) -> Any:
        streams.close_all(self.app)
        return super().shutdown(cancel_pending, timeout)
