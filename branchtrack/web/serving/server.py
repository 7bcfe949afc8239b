"""The listening server: it takes the port before anything else starts, then waitress serves.

Event streams hold no thread (`pump`), and strangers are limited in connections (`channels`). It
knows no page.
"""

from __future__ import annotations

import errno
import logging
import socket
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from flask import Flask
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.task import ThreadedTaskDispatcher

from branchtrack.errors import InvalidInput, PortInUse
from branchtrack.web.access import guards, identity
from branchtrack.web.events import streams
from branchtrack.web.events.pump import Pump
from branchtrack.web.services import services_of
from branchtrack.web.serving.channels import Listener

THREADS = 16
#: Connections at once, if the system allows a process so many files.
CONNECTIONS = 2048
#: Files that the server opens besides connections: databases, packs, temporary ones.
_OTHER_FILES = 256
_HEAD_BYTES = 1 << 16
#: A larger answer would hold a thread until its reader has taken it.
_ANSWER_BYTES = 1 << 28


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes any free one.

    Raises:
        PortInUse: another process listens there.
        InvalidInput: it is not an address of this machine.
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


def address(host: str, port: int, token: str | None = None, prefix: str = "") -> str:
    """Return the address to open in a browser; with a token it gives access once."""
    name = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "[::1]"}.get(host, host)
    name = f"[{name}]" if ":" in name and not name.startswith("[") else name
    return f"http://{name}:{port}{prefix}/" + (f"?token={quote(token, safe='')}" if token else "")


class Server:
    """A server whose port is taken; ``address`` is what to open.

    Raises:
        PortInUse: another process listens there.
        InvalidInput: the host cannot be bound, or other machines can reach it and there is no
        token.
    """

    def __init__(self, app: Flask, host: str, port: int, threads: int = THREADS) -> None:
        token = app.config["BRANCHTRACK_TOKEN"]
        if token is None and not guards.is_loopback(host):
            raise InvalidInput(
                "host",
                host,
                "127.0.0.1, or another address together with a token",
                what=f"Without a token this server may not listen on {host}: "
                "anyone who reaches it could steer runs.",
            )
        listener = bind(host, port)
        guards.trust_host(app, host)
        self.app = app
        prefix = app.config.get("BRANCHTRACK_PREFIX", "")
        self.address = address(host, listener.getsockname()[1], token, prefix)
        self._left: list[Any] = []
        self._pulled = threading.Event()
        self._pulled.set()
        self._dispatcher = _Dispatcher(app)
        self._dispatcher.set_thread_count(threads)
        self._pump = _pump(app)
        # It would warn of each request that waits for a moment.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        self._server = _listener(app, listener, self._dispatcher, self._pump)

    def run(self) -> None:
        """Serve until interrupted or closed."""
        try:
            self._server.run()
        finally:
            # Threads wake the loop through a pipe: they must end before it is closed, or they would
            # write into whatever file has its number by then.
            self._dispatcher.shutdown()
            self._pump.join()
            self._pulled.wait()
            guards.limits(self.app).tally.flush()
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


def _pump(app: Flask) -> Pump:
    database = services_of(app).database
    closing = streams.slots(app).closing
    return Pump(closing, lambda actor: identity.is_in_force(database, actor))


def _listener(app: Flask, listener: socket.socket, dispatcher: Any, pump: Pump) -> Listener:
    adjustments = Adjustments(
        sockets=[listener],
        ident=None,
        connection_limit=_connections(),
        asyncore_use_poll=True,
        # One byte more than a form may have, so that the application itself refuses the request.
        max_request_body_size=app.config["MAX_CONTENT_LENGTH"] + 2,
        max_request_header_size=_HEAD_BYTES,
        outbuf_high_watermark=_ANSWER_BYTES,
        cleanup_interval=1,
        channel_timeout=60,
        # Only `proxies` reads forwarded headers; without a proxy they must be ignored.
        clear_untrusted_proxy_headers=not app.config.get("BRANCHTRACK_PROXIES"),
        # It lets an answer that is waited for notice that its reader has left.
        channel_request_lookahead=1,
    )
    kind = (listener.family, listener.type, listener.proto, listener.getsockname())
    created = Listener(
        app,
        {},
        _sock=listener,
        dispatcher=dispatcher,
        adj=adjustments,
        sockinfo=kind,
        bind_socket=False,
    )
    created.pump, created.app = pump, app
    return created


def _connections() -> int:
    """Raise this process's limit of open files, and return how many connections it allows."""
    try:
        import resource
    except ImportError:
        return CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    required = CONNECTIONS + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < required:
        soft = required if hard == resource.RLIM_INFINITY else min(required, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return CONNECTIONS if soft == resource.RLIM_INFINITY else min(CONNECTIONS, soft * 8 // 10)


def serve(
    app: Flask,
    host: str,
    port: int,
    threads: int = THREADS,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until interrupted. ``ready`` is called with the address once the port is taken.

    Raises:
        PortInUse, InvalidInput: as for `Server`; nothing was started.
    """
    server = Server(app, host, port, threads)
    if ready is not None:
        ready(server.address)
    server.run()


class _Dispatcher(ThreadedTaskDispatcher):  # type: ignore[misc]  # waitress has no types
    """Worker threads that end the event streams first; an interrupt would wait for each of them."""

    def __init__(self, app: Flask) -> None:
        super().__init__()
        self.app = app

    def shutdown(self, cancel_pending: bool = True, timeout: float = 5) -> Any:
        streams.close_all(self.app)
        return super().shutdown(cancel_pending, timeout)
