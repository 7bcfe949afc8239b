"""What is new in a run since a reader last looked: events, points, branches that were lost.

The database is the only memory: each message's id is a cursor, so a stream can be resumed after a
sleep, a tab switch or a restart of the server. It knows no request and writes no markup.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from branchtrack.core import lifecycle
from branchtrack.core.formats import plural, state_words, steps
from branchtrack.core.records import Event, Run, Segment
from branchtrack.db import audit, runs, segments
from branchtrack.db.engine import Database
from branchtrack.db.metrics import Series
from branchtrack.db.views import chart_series

#: Ids, and numbers of as many digits as every database can store.
_CURSOR = re.compile(r"[0-9]{1,18}(~[0-9a-f]{1,16}(:-?[0-9]{1,18}){1,64})*")


@dataclass(frozen=True)
class Cursor:
    """What a reader knows of a run: its newest event, and of each live segment a step of each
    metric, in their order."""

    event: int
    reached: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __str__(self) -> str:
        pairs = (":".join([key, *map(str, steps)]) for key, steps in self.reached.items())
        return "~".join([str(self.event), *pairs])

    @classmethod
    def parse(cls, text: str) -> Cursor | None:
        """Return the cursor that ``str`` wrote, or None for any other text."""
        if not _CURSOR.fullmatch(text):
            return None
        first, *rest = text.split("~")
        pairs = (pair.split(":") for pair in rest)
        return cls(int(first), {segment: tuple(map(int, steps)) for segment, *steps in pairs})


#: States that may still change.
_OPEN = frozenset((*lifecycle.LIVE, "waiting", "lost"))
#: Points (step, value) of each metric.
_Points = dict[str, list[tuple[int, float | None]]]


class Follower:
    """A reader of some metrics of one run; ``look`` returns what is new since the last look."""

    def __init__(
        self, database: Database, run: Run, metrics: Sequence[str], cursor: Cursor
    ) -> None:
        self.database, self.run, self.cursor = database, run, cursor
        self.metrics = tuple(dict.fromkeys(metrics))
        self._names: dict[str, str] = {}
        self._states: dict[str, str] = {}
        self._heads: dict[str, int] = {}

    @property
    def state(self) -> tuple[Any, ...]:
        """Return what determines the next look: followers with equal states will see the same."""
        return (self.run.id, self.metrics, str(self.cursor), *map(str, (self._states, self._heads)))

    def id_after(self, _data: dict[str, Any]) -> str:
        """Return the cursor after the last look, of which all messages come together."""
        return str(self.cursor)

    def look(self) -> list[tuple[str, dict[str, Any]]]:
        """Return messages (name, data): ``changed`` for a new record, ``progress`` in training."""
        with self.database.read() as connection:
            happened = audit.since(connection, self.run.id, self.cursor.event, limit=200)
            keys = {*self.cursor.reached, *self._states, *(event.ref for event in happened)}
            every = {
                segment.id: segment
                for segment in segments.unended_of_run(connection, self.run.id, keys)
            }
            self._learn_names(connection, every.values())
            now = time.time()
            states = {key: lifecycle.segment_status(segment, now) for key, segment in every.items()}
            points = self._points(connection, every, states)
        messages = []
        lost = [key for key, state in states.items() if self._is_newly_lost(key, state)]
        if happened or lost:
            messages.append(("changed", self._changed(happened, lost, every)))
        self._states = {key: state for key, state in states.items() if state in _OPEN}
        heads = {
            key: segment.step for key, segment in every.items() if states[key] in lifecycle.LIVE
        }
        if points or heads != self._heads:
            messages.append(("progress", self._progress(points, every, heads)))
        self._heads = heads
        event = happened[-1].id if happened else self.cursor.event
        reached = {key: known for key, known in self.cursor.reached.items() if key in heads}
        self.cursor = Cursor(event, reached)
        return messages

    def _learn_names(self, connection: Connection, every: Any) -> None:
        if any(segment.branch_id not in self._names for segment in every):
            branches = runs.list_branches(connection, self.run.id)
            self._names = {branch.id: branch.name for branch in branches}

    def _points(
        self, connection: Connection, every: Mapping[str, Segment], states: Mapping[str, str]
    ) -> dict[str, _Points]:
        """Return new points by segment, of those that train and those that have just ended."""
        before = (-1,) * len(self.metrics)
        reached = {key: before for key, state in states.items() if state in lifecycle.LIVE}
        for key, steps_before in self.cursor.reached.items():
            # A segment id from a reader is one of this run, or is ignored.
            if key in every:
                reached[key] = (steps_before + before)[: len(before)]
        after = {
            (key, name): step
            for key, steps_before in reached.items()
            for name, step in zip(self.metrics, steps_before, strict=True)
        }
        series = chart_series.points_of_each_after(connection, after)
        newest = after | {
            key: int(new_points.steps[-1])
            for key, new_points in series.items()
            if new_points.steps.size
        }
        self.cursor = Cursor(
            self.cursor.event,
            {key: tuple(newest[key, name] for name in self.metrics) for key in reached},
        )
        by_segment: dict[str, _Points] = {}
        for (key, name), new_points in series.items():
            if new_points.steps.size:
                by_segment.setdefault(key, {})[name] = _pairs(new_points)
        return by_segment

    def _is_newly_lost(self, key: str, state: str) -> bool:
        return state == "lost" and self._states.get(key, state) != "lost"

    def _changed(
        self, happened: list[Event], lost: list[str], every: Mapping[str, Segment]
    ) -> dict[str, Any]:
        lines = [self._say(event, every) for event in happened]
        lines += [f"{self._branch(key, every)} is lost" for key in lost]
        sentences = [line for line in lines if line]
        more = f" and {plural(len(sentences) - 1, 'more change')}" if len(sentences) > 1 else ""
        kinds = sorted({event.kind for event in happened})
        return {"say": sentences[-1] + more if sentences else "", "kinds": kinds}

    def _say(self, event: Event, every: Mapping[str, Segment]) -> str:
        if event.kind == "node":
            changes = event.payload.get("changes") or []
            named = ", ".join(str(change.get("name")) for change in changes)
            what = f"{event.state} node" + (f" changing {named}" if named else "")
            return f"New {what} at step {steps(event.step)}"
        if event.kind == "segment":
            return f"{self._branch(event.ref, every)} is {state_words(event.state)}"
        kinds = {"request": "A request", "launch": "A launch"}
        return f"{kinds[event.kind]} is {state_words(event.state)}" if event.kind in kinds else ""

    def _branch(self, segment: str, every: Mapping[str, Segment]) -> str:
        segment_row = every.get(segment)
        return self._names.get(segment_row.branch_id, "") if segment_row else "A branch"

    def _progress(
        self,
        points: Mapping[str, _Points],
        every: Mapping[str, Segment],
        heads: Mapping[str, int],
    ) -> dict[str, Any]:
        name = {key: self._names.get(segment.branch_id, "") for key, segment in every.items()}
        return {
            "heads": {
                name[key]: {"step": step, "rate": every[key].rate} for key, step in heads.items()
            },
            "points": {name[key]: new_points for key, new_points in points.items()},
        }


def _pairs(series: Series) -> list[tuple[int, float | None]]:
    return [
        (step, value if math.isfinite(value) else None)
        for step, value in zip(series.steps.tolist(), series.values.tolist(), strict=True)
    ]
