"""Connections of waitress, with limits in time and number, and streams without a thread each.

A request is read whole before any other code sees it, so strangers are limited by how long it may
take, how large it may be, and how many connections an address may have.
"""

from __future__ import annotations

import time
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from flask import Flask
from waitress.channel import ClientDisconnected, HTTPChannel
from waitress.server import TcpWSGIServer
from waitress.task import WSGITask

from branchtrack.web.events.pump import Pump, Stream
from branchtrack.web.events.streams import TAKE_OVER
from branchtrack.web.serving.early_errors import EarlyErrorTask

#: Seconds for the head of a request, from its beginning or its connection's; and for all of it.
HEAD, WHOLE = 10.0, 30.0
#: Connections of one address. Behind a proxy on this machine all readers share its address.
MOST_EACH = 128
#: Seconds for which a client over its limit is not read from: answering takes time, too.
QUIET = 1.0
#: Bytes that wait for a stream's reader; a slower one is closed, and resumes by itself.
_BEHIND = 1 << 18


class Task(WSGITask):  # type: ignore[misc]  # waitress has no types
    """The answer to a request; a stream is handed over to the pump after its head."""

    stream: Stream | None = None

    def execute(self) -> None:
        """Run the task, as waitress does."""
        self.get_environment()[TAKE_OVER] = self._take_over
        super().execute()

    def service(self) -> None:
        """Answer the request, as waitress does, or hand a stream over."""
        try:
            super().service()
        except BaseException:
            if self.stream is not None:
                self.stream.slot.release()
            raise

    def finish(self) -> None:
        """Leave a stream open for the pump; pause reading from clients over their limit."""
        if self.stream is None:
            super().finish()
            if self.status.startswith("429"):
                self.channel.quiet_until = time.monotonic() + QUIET
            return
        self.close_on_finish = False
        self.channel.server.pump.add(self.stream, _Sink(self))

    def _take_over(self, stream: Stream) -> None:
        self.stream = stream
        self.channel.is_stream = True


class _Sink:
    """A stream's connection, as the pump writes to it."""

    def __init__(self, task: Task) -> None:
        self._task, self._channel = task, task.channel

    def send(self, text: str) -> bool:
        """Write without waiting; return False if the reader has left, or is too slow."""
        channel = self._channel
        if channel.will_close or channel.total_outbufs_len > _BEHIND:
            channel.will_close = True
            return False
        with channel.outbuf_lock:
            # A new buffer for each message, because what has been sent stays in memory with its
            # buffer.
            channel.current_outbuf_count = channel.adj.outbuf_high_watermark
            try:
                self._task.write(text.encode())
            except (ClientDisconnected, OSError):
                return False
        return True

    def end(self) -> None:
        """Close the connection after the end of the answer."""
        channel = self._channel
        if channel.connected and not channel.will_close:
            with suppress(ClientDisconnected, OSError):
                channel.write_soon(b"0\r\n\r\n" if self._task.chunked_response else b"")
            channel.close_when_flushed = True
        if channel.connected:
            channel.server.pull_trigger()


class Channel(HTTPChannel):  # type: ignore[misc]  # waitress has no types
    """A connection; one that reads a stream takes no more requests."""

    task_class = Task
    error_task_class = EarlyErrorTask
    is_stream = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        #: When the request that is being read began; a connection's first begins with it.
        self.began: float | None = time.monotonic()
        self.quiet_until = 0.0

    def readable(self) -> bool:
        """Return whether to read from the connection, as waitress does."""
        return bool(super().readable()) and time.monotonic() >= self.quiet_until

    def received(self, data: bytes) -> bool:
        """Take the bytes that arrived, as waitress does."""
        if self.is_stream:
            self.will_close = True
            return False
        before = self.request
        answer: bool = super().received(data)
        if self.request is None:
            self.began = None
        elif self.request is not before and (before or self.requests or self.began is None):
            self.began = time.monotonic()
        return answer

    def handle_write(self) -> None:
        """Write as waitress does, but share a stream's connection with the pump."""
        if not self.is_stream:
            super().handle_write()
            return
        self._flush_exception(self._flush_some_if_lockable)
        if self.will_close or (self.close_when_flushed and not self.total_outbufs_len):
            self.handle_close()

    @property
    def is_half_open(self) -> bool:
        """Return whether the connection has not sent a whole request yet."""
        return not self.is_stream and not self.requests and self.began is not None

    @property
    def is_idle(self) -> bool:
        """Return whether it can be closed without losing an answer."""
        return not self.is_stream and not self.requests and not self.total_outbufs_len

    def is_late(self, now: float) -> bool:
        """Return whether its request should be complete by now."""
        if not self.is_half_open or self.began is None:
            return False
        has_head = self.request is not None and self.request.headers_finished
        return now - self.began > (WHOLE if has_head else HEAD)


class Listener(TcpWSGIServer):  # type: ignore[misc]  # waitress has no types
    """The listening socket; if there are too many connections, those without a request go first."""

    channel_class = Channel
    pump: Pump
    #: What it serves; waitress wraps it.
    app: Flask

    def handle_accept(self) -> None:
        """Accept a connection, and make room for it."""
        before = len(self.active_channels)
        super().handle_accept()
        if len(self.active_channels) > min(before, MOST_EACH):
            self._make_room(next(reversed(self.active_channels.values())))

    def maintenance(self, now: float) -> None:
        """Close connections that are late or idle, except for streams."""
        super().maintenance(now)
        for channel in list(self.active_channels.values()):
            # At once: a client that does not read is never written to, not even to be closed.
            if channel.will_close or channel.is_late(time.monotonic()):
                channel.handle_close()

    def _make_room(self, newest: Channel) -> None:
        everybody = [channel for channel in self.active_channels.values() if not channel.will_close]
        same = [channel for channel in everybody if channel.addr[0] == newest.addr[0]]
        most = self.adj.connection_limit - 2
        each = most if _is_loopback(newest) else MOST_EACH
        for crowd, limit in ((same, each), (everybody, most)):
            if len(crowd) > limit:
                others = [channel for channel in crowd if channel is not newest]
                waiting = [channel for channel in others if channel.is_half_open]
                waiting += [channel for channel in others if channel.is_idle]
                (waiting or [newest])[0].handle_close()
                return


def _is_loopback(channel: Channel) -> bool:
    try:
        return ip_address(channel.addr[0]).is_loopback
    except ValueError:
        return False
