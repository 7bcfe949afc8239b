"""Counts what commits ask of the disk and the database, on the thread that writes them."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from sqlalchemy import Engine, event

from branchtrack.training.record.committer import Committer


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """fsyncs of files, renames and writing transactions of commits meanwhile.

    What is written beside them (points, heartbeats) is left out.
    """
    counts: Counter[str] = Counter()
    committing = threading.local()
    carry_out = Committer._carry_out

    def watched(committer: Committer, flight: Any) -> None:
        committing.now = True
        try:
            carry_out(committer, flight)
        finally:
            committing.now = False

    def counting(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            counts[name] += getattr(committing, "now", False)
            return real(*args, **kwargs)

        return call

    def begun(connection: Any) -> None:
        writes = connection.get_execution_options().get("branchtrack_writes")
        counts["transactions"] += bool(writes) and getattr(committing, "now", False)

    event.listen(Engine, "begin", begun)
    try:
        with (
            mock.patch.object(Committer, "_carry_out", watched),
            mock.patch.object(os, "fsync", counting("fsync")),
            mock.patch.object(os, "replace", counting("replace")),
        ):
            yield counts
    finally:
        event.remove(Engine, "begin", begun)
