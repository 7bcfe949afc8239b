"""What a dead or stuck process cannot say itself: that it is gone, stands still, fills the disk.

Any process may look, and several may at once: one alert is written. It starts and ends nothing.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

from branchtrack.config import Config
from branchtrack.control.alerts import raising
from branchtrack.core import lifecycle
from branchtrack.core.agents.records import Alert
from branchtrack.core.health import alerts as wording
from branchtrack.core.health import rules
from branchtrack.db.engine import Database
from branchtrack.db.watching import alerts, watched
from branchtrack.db.watching.watched import Watched

#: How long ago a training may have ended to be spoken of, in seconds.
_RECENT = 7 * 86400.0
#: Checkpoints that the disk should have room for.
_CHECKPOINTS = 2
ACTOR = "watch"


@dataclass
class Watch:
    """Looks at all trainings of a home, and remembers since when each stands still."""

    database: Database
    config: Config
    _still: dict[str, tuple[int, float]] = field(default_factory=dict)
    _raised: set[str] = field(default_factory=set)

    def look(self) -> list[Alert]:
        """Raise what is new, and return it; one statement if nothing is.

        Raises:
            StorageError: the database failed.
        """
        now = time.time()
        with self.database.read() as connection:
            current = watched.current(connection, now - _RECENT)
        self._still = {w.segment.id: self._still_since(w, now) for w in current}
        raised = [alert for w in current for alert in self._crashed(w, now) + self._stalled(w, now)]
        return raised + self._disk(current, now)

    def _crashed(self, watching: Watched, now: float) -> list[Alert]:
        segment = watching.segment
        status = lifecycle.segment_status(segment, now)
        if status not in lifecycle.CRASHED or not rules.readable(watching.watch).crash:
            return []
        how = "failed" if status == "failed" else "gone" if segment.gone else "silent"
        if self._is_known(segment.run_id, raising.crash_key(segment.id, how)):
            return []
        with self.database.transaction() as connection:
            return [raising.raise_crash(connection, segment, how, segment.error, ACTOR)]

    def _stalled(self, watching: Watched, now: float) -> list[Alert]:
        segment, limit = watching.segment, rules.readable(watching.watch).stall
        since = self._still[segment.id][1]
        if limit is None or lifecycle.segment_status(segment, now) != "running":
            return []
        if now - since < limit or self._is_known(
            segment.run_id, f"stall:{segment.id}:{segment.step}"
        ):
            return []
        with self.database.transaction() as connection:
            return [raising.raise_stall(connection, segment, now - since, ACTOR)]

    def _still_since(self, watching: Watched, now: float) -> tuple[int, float]:
        """Return the step of a segment, and since when it has been there, as far as is known."""
        segment = watching.segment
        seen = self._still.get(segment.id)
        if segment.status != "running" or (seen is not None and seen[0] != segment.step):
            return segment.step, now
        if seen is not None:
            return seen
        limit = rules.readable(watching.watch).stall
        moments = [segment.started_at or now]
        steps = [-1 if watching.head_step is None else watching.head_step]
        moments += [watching.head_at] if watching.head_at is not None else []
        if limit is None or now - max(moments) < limit:
            return segment.step, max(moments) if segment.step <= max(steps) else now
        with self.database.read() as connection:
            point = watched.newest_point(connection, segment.id)
        if point is not None:
            steps, moments = [*steps, point[0]], [*moments, point[1]]
        # A loop that logs nothing may just have made the update.
        return segment.step, max(moments) if segment.step <= max(steps) else now

    def _disk(self, current: list[Watched], now: float) -> list[Alert]:
        """Raise that the store's disk is too full for what trains."""
        live = [w for w in current if lifecycle.segment_status(w.segment, now) in lifecycle.LIVE]
        if not live:
            return []
        free, raised = free_bytes(self.config.store), []
        for watching in live:
            segment, least = watching.segment, rules.readable(watching.watch).disk
            if least is None:
                continue
            needed = max(least, _CHECKPOINTS * (watching.checkpoint_bytes or 0))
            key = wording.key("disk", segment.id)
            if free >= needed or self._is_known(segment.run_id, key):
                continue
            with self.database.transaction() as connection:
                raised.append(raising.raise_disk(connection, segment, free, needed, ACTOR))
        return raised

    def _is_known(self, run_id: str, key: str) -> bool:
        """Return whether there is an alert of that key; what there is, is asked for once."""
        if key not in self._raised:
            with self.database.read() as connection:
                if alerts.by_key(connection, run_id, key) is None:
                    return False
            self._raised.add(key)
        return True


def free_bytes(folder: Path) -> int:
    """Return the bytes that are free on the disk of a folder, or of where it would be."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def look(database: Database, config: Config) -> list[Alert]:
    """Look once; see `Watch.look`. A home that can only be read is not looked at."""
    return [] if database.read_only else Watch(database, config).look()
