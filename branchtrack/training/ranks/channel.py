"""Messages between the processes (ranks) of one training, through the process group's store.

A message is JSON under a key, read by polling: nothing is a collective, so nothing
can hang in one, and nothing is pickled. Every rank posts a sign of life; who waits for a rank that
has left, or that is gone, is told so. It must not know sessions, requests or nodes.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from branchtrack import processes
from branchtrack.errors import RankLost

#: Returns whether a wait is in vain.
Over = Callable[[], bool]
#: Returns whether a message, given with its key, is waited for: a key may have had others before.
Fits = Callable[[str, Any], bool]
#: Seconds between two signs of life of a rank.
BEAT_SECONDS = 1.0
#: Seconds of silence after which a rank on another machine counts as gone.
SILENCE_SECONDS = 12.0
#: Seconds between two looks for a message: few at first, more the longer it takes.
_FIRST_LOOK, _LAST_LOOK = 0.0002, 0.01
#: Seconds of waiting after which the sender is looked at as well.
_CHECK_SECONDS = 0.25


class Store(Protocol):
    """What is used of ``torch.distributed.Store``."""

    def set(self, key: str, value: str, /) -> None: ...
    def get(self, key: str, /) -> bytes: ...
    def check(self, keys: list[str], /) -> bool: ...
    def delete_key(self, key: str, /) -> bool: ...


@dataclass(frozen=True)
class _Peer:
    """Where a rank lives, to see at once if it dies on this machine."""

    host: str
    name: str
    pid: int


class Channel:
    """The messages of one training between ``size`` ranks, as rank ``rank`` sees them.

    ``store`` is the process group's, with a prefix of this training. For use by several threads:
    each operation is short.
    """

    def __init__(self, store: Store, rank: int, size: int) -> None:
        self.rank, self.size = rank, size
        self._store = store
        self._peers: dict[int, _Peer] = {}
        self._beats: dict[int, tuple[str, float]] = {}
        self._closed = threading.Event()
        me = processes.own_name()
        self.post(f"peer/{rank}", [socket.gethostname(), me, os.getpid()])

    @property
    def leads(self) -> bool:
        """Whether this rank is the one that knows the database."""
        return self.rank == 0

    @property
    def others(self) -> list[int]:
        """The ranks other than this one."""
        return [rank for rank in range(self.size) if rank != self.rank]

    def open(
        self,
        *,
        on_loss: Callable[[int, str], None] = lambda rank, why: None,
        on_beat: Callable[[], None] = lambda: None,
    ) -> None:
        """Begin to give signs of life, with ``on_beat`` called at each; ``on_loss`` is called once
        for a rank that is gone, or left because it failed.
        """
        threading.Thread(
            target=self._beat_on, args=(on_loss, on_beat), name="branchtrack ranks", daemon=True
        ).start()

    def post(self, key: str, value: Any) -> None:
        """Write a message (JSON; NaN and infinity are kept).

        Raises:
            RankLost: the store is gone.
        """
        try:
            self._store.set(key, json.dumps(value, separators=(",", ":")))
        except Exception as error:
            raise _storeless(error) from error

    def peek(self, key: str) -> Any | None:
        """Return a message, or None if it has not been written yet.

        Raises:
            RankLost: the store is gone.
        """
        try:
            return json.loads(self._store.get(key)) if self._store.check([key]) else None
        except Exception as error:
            raise _storeless(error) from error

    def wait(
        self,
        key: str,
        sender: int,
        *,
        seconds: float | None = None,
        over: Over | None = None,
        fits: Fits | None = None,
    ) -> Any:
        """Return a message of rank ``sender`` as soon as it is there; it is not removed.

        ``over`` returns whether nobody needs it any more; what does not fit counts as not there.

        Raises:
            RankLost: it has left, is gone, or has not written it within ``seconds``, or in time.
        """
        return self.wait_for_any([key], sender, seconds=seconds, over=over, fits=fits)[1]

    def wait_for_any(
        self,
        keys: Sequence[str],
        sender: int,
        *,
        seconds: float | None = None,
        over: Over | None = None,
        fits: Fits | None = None,
    ) -> tuple[str, Any]:
        """Do as `wait` for the first of several messages; return its key as well."""
        began, pause, looked = time.monotonic(), _FIRST_LOOK, 0.0
        while (message := self._first_of(keys, fits)) is None:
            waited = time.monotonic() - began
            if waited - looked > _CHECK_SECONDS:
                looked = waited
                why = self.absence(sender)
                if not why and over is not None and over():
                    why = "it has not done its part before training ended"
                # It may have been written just before the rank left.
                if why and (message := self._first_of(keys, fits)) is None:
                    raise lost(sender, why)
                if message is not None:
                    break
            if seconds is not None and waited > seconds:
                raise lost(sender, f"it has not answered for {seconds:g} seconds")
            time.sleep(pause)
            pause = min(pause * 1.5, _LAST_LOOK)
        return message

    def _first_of(self, keys: Sequence[str], fits: Fits | None) -> tuple[str, Any] | None:
        for key in keys:
            value = self.peek(key)
            if value is not None and (fits is None or fits(key, value)):
                return key, value
        return None

    def take(
        self, key: str, sender: int, *, seconds: float | None = None, over: Over | None = None
    ) -> Any:
        """Do as `wait`, and remove the message: nobody else reads it."""
        value = self.wait(key, sender, seconds=seconds, over=over)
        self.forget(key)
        return value

    def forget(self, key: str) -> None:
        """Remove a message that all who needed it have read."""
        with suppress(Exception):
            self._store.delete_key(key)

    def absence(self, rank: int) -> str:
        """Return why a rank does not answer any more; empty while it may."""
        left = self.peek(f"left/{rank}")
        if left is not None:
            return left["why"].rstrip(".") or "it has left the training"
        return "" if rank == self.rank else self._silence(rank)

    def leave(self, why: str = "", *, failed: bool = False) -> None:
        """Let the others know that this rank says nothing more; the end of its part."""
        if not self._closed.is_set():
            self._closed.set()
            with suppress(RankLost):
                self.post(f"left/{self.rank}", {"why": why, "failed": failed})

    def _silence(self, rank: int) -> str:
        peer = self._peer(rank)
        if peer is None:
            return ""
        if processes.is_gone(peer.name):
            return f"its process {peer.pid} has died"
        beat, now = str(self.peek(f"beat/{rank}")), time.monotonic()
        seen, since = self._beats.get(rank, ("", now))
        if beat != seen:
            self._beats[rank] = beat, now
        elif now - since > SILENCE_SECONDS and peer.host != socket.gethostname():
            return f"its process {peer.pid} on {peer.host} has been silent for {now - since:.0f} s"
        return ""

    def _peer(self, rank: int) -> _Peer | None:
        if rank not in self._peers:
            facts = self.peek(f"peer/{rank}")
            if facts is None:
                return None
            self._peers[rank] = _Peer(*facts)
        return self._peers[rank]

    def _beat_on(self, on_loss: Callable[[int, str], None], on_beat: Callable[[], None]) -> None:
        number, missing = 0, set(self.others)
        while not self._closed.wait(BEAT_SECONDS):
            number += 1
            try:
                self.post(f"beat/{self.rank}", number)
                on_beat()
                for rank in sorted(missing):
                    left = self.peek(f"left/{rank}")
                    why = "" if left is not None else self._silence(rank)
                    if left is not None and left["failed"]:
                        why = left["why"]
                    if left is not None or why:
                        missing.discard(rank)
                    if why:
                        on_loss(rank, why)
            except Exception:
                # The store is gone, and with it whoever held it: the launcher ends this process.
                return


def lost(rank: int, why: str) -> RankLost:
    """Return the error on a rank that does not answer."""
    return RankLost(
        f"Rank {rank} does not answer: {why}.",
        safe="All nodes so far are safe.",
        fix="Its output says why it ended; `branchtrack continue` goes on from the newest node.",
        rank=rank,
    )


def _storeless(error: Exception) -> RankLost:
    return RankLost(
        f"The ranks of this training cannot reach each other any more: {error}.",
        safe="All nodes so far are safe.",
        fix="`branchtrack continue` goes on from the newest node.",
        rank=None,
    )
