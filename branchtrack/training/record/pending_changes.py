"""Changes that took effect although their own commit failed: the next node lists them.

Without this the record would not show since when a setting has had its value.
"""

from __future__ import annotations

import threading
from dataclasses import replace

from branchtrack.core.records import Change, NewNode


class PendingChanges:
    """The changes that no node lists yet. Threads may share it."""

    def __init__(self) -> None:
        self._lost: list[tuple[int, tuple[Change, ...]]] = []
        self._since: dict[str, int] = {}
        self._lock = threading.Lock()

    def add(self, step: int, changes: tuple[Change, ...]) -> None:
        """Keep the changes of a commit at ``step`` that failed."""
        # A change that was kept already took effect before this step.
        changes = tuple(
            replace(entry, step=step) if entry.step is None else entry for entry in changes
        )
        with self._lock:
            for change in changes:
                self._since.setdefault(change.name, step)
            if changes:
                self._lost.append((step, changes))

    def merge_into(self, new: NewNode) -> NewNode:
        """Return the node with the kept changes added, and since when they have been in effect.

        If its commit fails, `add` all of its changes again; otherwise call `clear`.
        """
        with self._lock:
            # Commits may fail in another order than the one they were started in.
            lost, self._lost = sorted(self._lost, key=lambda entry: entry[0]), []
            since = dict(self._since)
        if not lost:
            return new
        combined = merged([*(change for _, some in lost for change in some), *new.changes])
        changes = tuple(
            replace(entry, step=None) if entry.step == new.step else entry for entry in combined
        )
        remarks = [
            f"{change.name} was changed at step {since[change.name]}, "
            "where no node could be created"
            for change in changes
            if change.name in since
        ]
        return replace(
            new,
            changes=changes,
            kind="intervention" if changes and new.kind == "checkpoint" else new.kind,
            message="; ".join(text for text in [new.message, *remarks] if text),
        )

    def clear(self) -> None:
        """Note that the last node that `merge_into` returned is durable."""
        with self._lock:
            left = {change.name for _, some in self._lost for change in some}
            self._since = {name: step for name, step in self._since.items() if name in left}


def merged(changes: list[Change]) -> tuple[Change, ...]:
    """Return one change per name, from before the first to after the last, without reverted ones.

    Its step is the last's: the one at which the value took effect.
    """
    first = {change.name: change for change in reversed(changes)}
    last = {change.name: change for change in changes}
    combined = [replace(last[name], before=first[name].before) for name in last]
    return tuple(change for change in combined if change.before != change.after)
