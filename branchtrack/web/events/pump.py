"""Open event streams: how many there may be, and the one thread that writes to all of them.

Readers of a run with the same cursor share each look into the database. It knows no socket: the
server writes through a `Sink`.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from branchtrack.core.actors import Actor
from branchtrack.core.nonfinite import spelled
from branchtrack.db.engine import Database
from branchtrack.errors import printable

#: Streams at once, in all and of one caller.
MOST, MOST_EACH = 512, 64
HEARTBEAT = 15.0
POLL = 0.5
OPEN, ALIVE = ": open\n\n", ": still here\n\n"
_log = logging.getLogger(__name__)


class Reader(Protocol):
    """What is new since it last looked; readers with equal states will see the same."""

    @property
    def database(self) -> Database:
        """The database that it reads."""

    @property
    def state(self) -> tuple[Any, ...]:
        """What determines the next look."""

    def look(self) -> list[tuple[str, dict[str, Any]]]:
        """Return what is new, as messages: name and data."""

    def id_after(self, data: dict[str, Any]) -> str:
        """Return the id of a message, from which a reader goes on."""


class StreamSlots:
    """The number of open streams by caller, and whether they should end."""

    def __init__(self) -> None:
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()

    def acquire(self, caller: str) -> StreamSlot | None:
        """Return a slot for a stream of the caller; None if too many are taken."""
        with self._lock:
            is_full = self._taken.total() >= MOST or self._taken[caller] >= MOST_EACH
            if self.closing.is_set() or is_full:
                return None
            self._taken[caller] += 1
        return StreamSlot(self, caller)

    def release(self, caller: str) -> None:
        """Release a slot of the caller."""
        with self._lock:
            self._taken[caller] -= 1
            if not self._taken[caller]:
                del self._taken[caller]


@dataclass(eq=False)
class StreamSlot:
    """The slot of a stream, which may be released more than once."""

    slots: StreamSlots
    caller: str
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _is_released: bool = False

    def release(self) -> None:
        """Release the slot; further calls do nothing."""
        with self._lock:
            was_released, self._is_released = self._is_released, True
        if not was_released:
            self.slots.release(self.caller)


@dataclass(eq=False)
class Stream:
    """One reader of one run, with the actor whose access lets them read."""

    follower: Reader
    actor: Actor
    slot: StreamSlot


class Sink(Protocol):
    """The target that a server writes a stream to."""

    def send(self, text: str) -> bool:
        """Write without waiting; return False if the reader has left, or is too slow."""

    def end(self) -> None:
        """Close the target after what was written."""


@dataclass(eq=False)
class _Group:
    """Readers with the same cursor, and when they were last written to."""

    follower: Reader
    readers: list[tuple[Stream, Sink]]
    spoken: float


def as_messages(follower: Reader) -> str:
    """Return what is new, as messages of an event stream; empty if nothing is."""
    messages = follower.look()
    return "".join(
        f"id: {follower.id_after(data)}\nevent: {name}\ndata: {_as_json(data)}\n\n"
        for name, data in messages
    )


def _as_json(data: dict[str, Any]) -> str:
    text = json.dumps(spelled(data), separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return printable(text)


class Pump:
    """A thread's work: it writes to every stream added to it, until ``closing`` is set.

    ``is_in_force`` returns whether an actor still has access.
    """

    def __init__(self, closing: threading.Event, is_in_force: Callable[[Actor], bool]) -> None:
        self._closing, self._is_in_force = closing, is_in_force
        self._lock = threading.Lock()
        self._new: list[tuple[Stream, Sink]] = []
        self._groups: list[_Group] = []
        self._thread: threading.Thread | None = None

    def add(self, stream: Stream, sink: Sink) -> None:
        """Write to a stream from now on."""
        with self._lock:
            self._new.append((stream, sink))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="streams", daemon=True)
                self._thread.start()

    def join(self) -> None:
        """Wait until every stream has been ended; ``closing`` has to be set."""
        if self._thread is not None:
            self._thread.join()

    def tick(self) -> None:
        """Look once for each group of readers, and write to them."""
        with self._lock:
            arrived, self._new = self._new, []
        self._groups += [
            _Group(reader[0].follower, [reader], time.monotonic()) for reader in arrived
        ]
        self._merge()
        allowed: dict[Actor, bool] = {}
        for group in self._groups:
            try:
                self._serve(group, allowed)
            except Exception:
                # The database may be busy or unavailable for a while: the next look sees the same.
                _log.exception("a look for what is new failed")
        self._groups = [group for group in self._groups if group.readers]

    def _run(self) -> None:
        while not self._closing.wait(POLL):
            self.tick()
        with self._lock:
            last = self._new + [reader for group in self._groups for reader in group.readers]
            self._new, self._groups = [], []
        for stream, sink in last:
            _end(stream, sink)

    def _merge(self) -> None:
        """Let readers with the same cursor share their looks."""
        first: dict[tuple[Any, ...], _Group] = {}
        for group in self._groups:
            leader = first.setdefault(group.follower.state, group)
            if leader is not group:
                leader.readers += group.readers
                group.readers = []
        self._groups = list(first.values())

    def _serve(self, group: _Group, allowed: dict[Actor, bool]) -> None:
        for stream, sink in group.readers[:]:
            if stream.actor not in allowed:
                allowed[stream.actor] = self._is_in_force(stream.actor)
            if not allowed[stream.actor]:
                group.readers.remove((stream, sink))
                _end(stream, sink)
        text = as_messages(group.follower) if group.readers else ""
        if not text and time.monotonic() - group.spoken > HEARTBEAT:
            text = ALIVE
        if text:
            group.spoken = time.monotonic()
            group.readers = [reader for reader in group.readers if _sent(*reader, text)]


def _sent(stream: Stream, sink: Sink, text: str) -> bool:
    if sink.send(text):
        return True
    _end(stream, sink)
    return False


def _end(stream: Stream, sink: Sink) -> None:
    stream.slot.release()
    sink.end()
