"""What a training process notices of itself, and what its script says: alerts, as jobs.

Points are looked at by the thread that has just written them, never by the training thread; nothing
of it can raise into training. After an outage what was noticed meanwhile is written.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from sqlalchemy import Connection

from branchtrack.analysis import curves
from branchtrack.control.alerts import background, delivery, raising
from branchtrack.core.health import alerts as wording
from branchtrack.core.health import rules
from branchtrack.core.health.detectors import Finding
from branchtrack.core.health.monitor import Monitor
from branchtrack.core.health.rules import Rules
from branchtrack.core.names import LONGEST_METRIC, storable
from branchtrack.db import runs, segments
from branchtrack.db.engine import Database
from branchtrack.errors import SchemaError, StorageError
from branchtrack.training.record.points import LoggedPoint
from branchtrack.training.record.recorder import Recorder

logger = logging.getLogger("branchtrack")

#: Seconds between two looks whether the rules have changed.
_RULES_SECONDS = 5.0
#: The newest inherited points that detectors are given.
_INHERITED = 20_000
#: Points that wait while the rules cannot be read; then the oldest are not looked at.
_WAITING = 100_000
#: Seconds that the end of training waits for alerts that are being sent.
_SEND_SECONDS = 10.0
#: Alerts of a script that are recorded in one process, of each level.
MOST = 500

#: Writes one alert.
_Write = Callable[[Connection], Any]


class HealthRecord:
    """Watches the points of one segment by the rules of its run; assign it to a `Recorder`.

    ``is_held`` returns whether the loop is paused, which is no stall. What is raised is sent by a
    thread of its own, if the environment says where to.

    Locking: `take` is called by one thread at a time (see `points.Points.flush`), `beat` by the
    pulse alone; what they notice is passed on in a deque.
    """

    def __init__(
        self,
        database: Database,
        segment_id: str,
        recorder: Recorder,
        actor: str,
        is_held: Callable[[], bool] = lambda: False,
    ) -> None:
        self._database, self._segment, self._recorder = database, segment_id, recorder
        self._actor, self._is_held = actor, is_held
        way = background.configured()
        self._sender = background.Sender(partial(delivery.deliver, database, way))
        self._sends = way is not None
        self._rules = Rules()
        self._stored: dict[str, Any] | None = None
        self._monitor: Monitor | None = None
        self._points: deque[LoggedPoint] = deque(maxlen=_WAITING)
        self._pending: deque[_Write] = deque()
        self._read_at = 0.0
        self._moved = recorder.step, time.monotonic()
        self._stalled: int | None = None
        self._said: Counter[str] = Counter()
        self._latest: set[tuple[int, str, str]] = set()
        self._has_failed = False
        self._writing = threading.Lock()

    def take(self, points: Sequence[LoggedPoint]) -> None:
        """Look at points that have just been written. Never raises."""
        try:
            self._points.extend(points)
            if self._monitor is None or time.monotonic() - self._read_at >= _RULES_SECONDS:
                self._read_rules()
            self._feed()
        except Exception as error:
            # The points are written: looking at them must not have them written again.
            if not self._has_failed:
                logger.warning("branchtrack cannot watch this training at present: %s", error)
            self._has_failed = True

    def beat(self) -> None:
        """Notice that training stands still; called about once a second. Never raises."""
        step, now, limit = self._recorder.step, time.monotonic(), self._rules.stall
        if step != self._moved[0] or self._is_held():
            self._moved, self._stalled = (step, now), None
            return
        seconds = now - self._moved[1]
        if limit is not None and seconds >= limit and self._stalled != step:
            self._stalled = step
            self._add(partial(self._raise_stall, step=step, seconds=seconds))

    def say(
        self, step: int, text: object, level: str, metric: str | None, value: float | None
    ) -> None:
        """Raise an alert that the script wrote. Never raises an exception."""
        words, level = _text(text).strip() or "(no text)", _level(level)
        if (step, level, words) in self._latest:
            return
        self._latest = {said for said in self._latest if said[0] == step} | {(step, level, words)}
        self._said[level] += 1
        if self._said[level] > MOST:
            return
        if self._said[level] == MOST:
            end = f" ({level} alerts of this process from here on are not recorded)"
            words = _cut(words, wording.LONGEST - len(end)) + end
        name = None if metric is None else _text(metric)[:LONGEST_METRIC]
        self._add(
            partial(
                raising.raise_script,
                segment_id=self._segment,
                text=_cut(words, wording.LONGEST),
                level=level,
                step=step,
                metric=name,
                value=_number(value),
                actor=self._actor,
            )
        )

    def write(self) -> None:
        """Write what was noticed; what the database could not take is tried with the next.

        Raises:
            StorageError, SchemaError: the database failed.
        """
        with self._writing:
            while self._pending:
                self._try(self._pending[0])
                self._pending.popleft()
                self._send()

    def crash(self, error: str | None) -> None:
        """Raise the alert that an error has ended the training, which has been recorded.

        If it cannot be written, whoever looks next raises it.
        """
        if self._rules.crash:
            with suppress(StorageError, SchemaError):
                self._try(partial(self._raise_crash, error=error))
                self._send()

    def _try(self, write: _Write) -> None:
        """Write one alert; a defect of ours costs that alert and nothing else."""
        try:
            with self._database.transaction() as connection:
                write(connection)
        except (StorageError, SchemaError):
            raise
        except Exception:
            logger.exception("branchtrack cannot record an alert. Training continues.")

    def _raise_crash(self, connection: Connection, error: str | None) -> None:
        segment = segments.get(connection, self._segment)
        raising.raise_crash(connection, segment, "failed", error, self._actor)

    def close(self) -> None:
        """Wait a little for alerts that are being sent."""
        self._sender.close(_SEND_SECONDS)

    def _send(self) -> None:
        if self._sends:
            self._sender.wake()

    def _add(self, write: _Write) -> None:
        self._pending.append(write)
        # What comes later is written with the end of the segment.
        self._recorder.jobs.add_if_open(self.write)

    def _feed(self) -> None:
        while self._points and self._monitor is not None:
            name, step, value, _time = self._points.popleft()
            for finding in self._monitor.feed(name, step, value):
                self._add(partial(self._raise_finding, finding=finding))

    def _raise_finding(self, connection: Connection, finding: Finding) -> None:
        raising.raise_finding(connection, self._segment, finding, self._actor)

    def _raise_stall(self, connection: Connection, step: int, seconds: float) -> None:
        segment = segments.get(connection, self._segment)
        if segment.step <= step:
            raising.raise_stall(connection, segment, seconds, self._actor)

    def _read_rules(self) -> None:
        """Read what the run is watched for; begin anew with the points so far if that changed."""
        self._read_at = time.monotonic()
        with self._database.read() as connection:
            run_id = segments.get(connection, self._segment).run_id
            stored = runs.get_run(connection, run_id).watch
            if self._monitor is not None and stored == self._stored:
                return
            is_first = self._monitor is None
            self._rules, self._stored = rules.readable(stored), stored
            monitor = Monitor(self._rules)
            self._prime(connection, monitor, inherited=is_first)
        self._monitor = monitor

    def _prime(self, connection: Connection, monitor: Monitor, *, inherited: bool) -> None:
        """Give the detectors the curve before the points that wait to be looked at.

        If ``inherited`` that is what the branch had before this process.
        """
        waiting: dict[str, int] = {}
        for name, step, _value, _time in self._points:
            waiting[name] = min(step, waiting.get(name, step))
        segment = segments.get(connection, self._segment)
        branch = runs.get_branch(connection, segment.branch_id)
        for name in monitor.names:
            curve = curves.branch_curves(connection, segment.run_id, [branch], name)[0]
            if not curve.spans or curve.spans[-1].segment != self._segment:
                continue
            upto = curve.spans[-1].after if inherited else waiting.get(name, math.inf) - 1
            series = curve.series.cut(-1, None if upto == math.inf else int(upto))
            steps, values = series.steps[-_INHERITED:], series.values[-_INHERITED:]
            pairs = zip(steps.tolist(), values.tolist(), strict=True)
            monitor.prime(name, pairs, inherited=inherited)


def _text(value: object) -> str:
    """Return what a script gave as text."""
    try:
        return storable(str(value))
    except Exception as error:
        # An error in a value's own class must not end a training.
        return f"({type(error).__name__} of a {type(value).__name__})"


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _level(given: object) -> str:
    """Return the level that a script gave, whatever its case; what is none becomes a warning."""
    level = _text(given).lower()
    if level in wording.LEVELS:
        return level
    logger.warning("branchtrack: an alert has no level %r; it becomes a warning.", level[:100])
    return "warn"


def _number(value: Any) -> float | None:
    """Return what a script gave as a number as a float; None for what is none."""
    try:
        return None if value is None else float(value)
    except Exception:
        # An error in a value's own class must not end a training.
        return None
