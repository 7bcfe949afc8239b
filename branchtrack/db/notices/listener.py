"""Hearing at once what others tell: a thread with a connection of its own that listens.

It only saves waiting. Whoever subscribes goes on looking by itself: often while nothing is heard
(`Subscription.is_live`), else rarely. Nothing that fails here ever reaches those who wait.
"""

from __future__ import annotations

import logging
import secrets
import selectors
import socket
import threading
import time
from collections import defaultdict
from contextlib import closing, suppress
from typing import Any

from sqlalchemy import Engine

from branchtrack.db.notices.channel import CHANNEL, tell

logger = logging.getLogger("branchtrack")

#: Seconds for which the end of the thread is waited for: it may be connecting.
_END_SECONDS = 1.0
#: Seconds after which the connection is tried: a notice is sent on another, and has to be heard.
TRIAL_SECONDS = 30.0
#: Seconds in which it has to be heard.
TRIAL_PATIENCE = 5.0
#: Seconds before the first and, with each failure twice as many, before later attempts to connect.
FIRST_DELAY, LONGEST_DELAY = 0.5, 60.0
#: So that a connection that was cut off silently is noticed by libpq, too.
_OPTIONS = {
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "application_name": "branchtrack listening",
}


class _Unheard(Exception):
    """A notice that was sent did not arrive: something in between passes none on."""


class _End:
    """Whether a thread is to end, which it also learns while it waits for a connection."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._is_set = False

    def is_set(self) -> bool:
        """Return whether the thread is to end."""
        return self._is_set

    def set(self) -> None:
        """Make the thread end."""
        self._is_set = True
        with suppress(OSError):
            self._writer.send(b".")

    def wait(self, seconds: float, connection: Any = None) -> bool:
        """Wait until the end, or until a connection can be read; return whether it can."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._reader, selectors.EVENT_READ)
            if connection is not None:
                selector.register(connection, selectors.EVENT_READ)
            ready = selector.select(max(seconds, 0.0))
        return any(key.fileobj is connection for key, _ in ready)

    def close(self) -> None:
        """Give back what it holds; the thread's last act."""
        self._reader.close()
        self._writer.close()


class Subscription:
    """One reader's interest in a key; ``noticed`` is set by each notice of it, and cleared by them.

    It is also set when listening begins or ends: what was told meanwhile may have been missed.
    """

    def __init__(self, key: str, listener: Listener | None) -> None:
        self.key = key
        self.noticed = threading.Event()
        self._listener = listener

    @property
    def is_live(self) -> bool:
        """Whether notices arrive at present."""
        return self._listener is not None and self._listener.is_live

    def rest(self, seconds: float, listening: float | None = None) -> bool:
        """Wait for a notice for some seconds, for ``listening`` ones while they arrive.

        Returns:
            whether there was one.
        """
        longest = seconds if listening is None or not self.is_live else listening
        if not self.noticed.wait(longest):
            return False
        self.noticed.clear()
        return True

    def wake(self) -> None:
        """End the present or the next `rest`."""
        self.noticed.set()

    def release(self) -> None:
        """Hear no more."""
        if self._listener is not None:
            self._listener.remove(self)


class Listener:
    """All subscriptions of a process to one PostgreSQL database, and the thread that serves them.

    ``is_live``: notices arrive at present. The thread begins with the first subscription, and ends
    with `close`; a later subscription begins another.

    Locking: one lock keeps the subscriptions and the thread; ``is_live`` is assigned by the thread.
    """

    def __init__(self, engine: Engine) -> None:
        self.is_live = False
        self._engine = engine
        self._lock = threading.Lock()
        self._subscriptions: dict[str, list[Subscription]] = defaultdict(list)
        self._thread: threading.Thread | None = None
        self._ends: _End | None = None
        self._was_told = False

    def subscribe(self, key: str) -> Subscription:
        """Return a subscription to the notices of a key."""
        subscription = Subscription(key, self)
        with self._lock:
            self._subscriptions[key].append(subscription)
            if self._thread is None:
                self._ends = _End()
                self._thread = threading.Thread(
                    target=self._run, args=(self._ends,), name="branchtrack notices", daemon=True
                )
                self._thread.start()
        return subscription

    def remove(self, subscription: Subscription) -> None:
        """Serve a subscription no more; further calls do nothing."""
        with self._lock:
            of_key = self._subscriptions[subscription.key]
            if subscription in of_key:
                of_key.remove(subscription)
            if not of_key:
                del self._subscriptions[subscription.key]

    def close(self) -> None:
        """End the thread and its connection."""
        with self._lock:
            thread, ends, self._thread, self._ends = self._thread, self._ends, None, None
        if thread is not None and ends is not None:
            ends.set()
            thread.join(_END_SECONDS)

    def _run(self, ends: _End) -> None:
        """Listen, and begin anew whatever happens, until ``ends`` is set."""
        delay = FIRST_DELAY
        while not ends.is_set():
            try:
                with closing(self._connect()) as connection:
                    self._serve(connection, ends)
            except Exception as error:
                # Of whatever kind: those who wait look by themselves, and must not be disturbed.
                if not ends.is_set():
                    self._report(error)
            if self.is_live:
                self.is_live, delay = False, FIRST_DELAY
                self._wake_all()
            ends.wait(delay)
            delay = min(2 * delay, LONGEST_DELAY)
        ends.close()

    def _connect(self) -> Any:
        """Return a connection of psycopg's own that listens: none of the pool's, which rest."""
        import psycopg

        arguments, options = self._engine.dialect.create_connect_args(self._engine.url)
        connection = psycopg.connect(*arguments, **{**_OPTIONS, **options}, autocommit=True)
        try:
            row = connection.execute(f"SELECT {CHANNEL}").fetchone()
            assert row is not None
            connection.execute(f'LISTEN "{row[0]}"')
        except BaseException:
            connection.close()
            raise
        return connection

    def _serve(self, connection: Any, ends: _End) -> None:
        """Pass on what is heard until ``ends`` is set.

        Raises:
            _Unheard: what this process sent did not arrive. psycopg.Error: the connection is lost.
        """
        trial, due = "", time.monotonic()
        while not ends.is_set():
            if time.monotonic() >= due:
                if trial:
                    raise _Unheard("a notice that was sent did not arrive")
                trial, due = f"trial {secrets.token_hex(8)}", time.monotonic() + TRIAL_PATIENCE
                self._send(trial)
            if not ends.wait(due - time.monotonic(), connection):
                continue
            for notice in connection.notifies(timeout=0):
                if notice.payload == trial:
                    trial, due = "", time.monotonic() + TRIAL_SECONDS
                    self._begin()
                else:
                    self._pass_on(notice.payload)

    def _send(self, key: str) -> None:
        with self._engine.begin() as connection:
            tell(connection, key)

    def _begin(self) -> None:
        if self.is_live:
            return
        self.is_live = True
        self._wake_all()
        if self._was_told:
            self._was_told = False
            logger.info("branchtrack hears at once again what is new in the database.")

    def _report(self, error: Exception) -> None:
        """Log once, until it works again, that nothing is heard."""
        if not self._was_told:
            self._was_told = True
            lines = str(error).strip().splitlines() or [type(error).__name__]
            logger.info(
                "branchtrack is not told by the database what is new, and looks more often: %s",
                lines[0],
            )

    def _pass_on(self, key: str) -> None:
        with self._lock:
            for subscription in self._subscriptions.get(key, ()):
                subscription.wake()

    def _wake_all(self) -> None:
        with self._lock:
            for of_key in self._subscriptions.values():
                for subscription in of_key:
                    subscription.wake()
