"""All runs with their metrics and settings, kept in this process and brought up to date.

To read ten thousand runs takes longer than to filter and sort them. What has changed is seen from
few numbers: each event of a run moves its ``updated_at``, each new point moves the last step of its
series. What changes without an event is read each time: the runs whose processes are alive. If the
numbers do not agree afterwards, everything is read anew: the index is never trusted, but checked.
"""

from __future__ import annotations

import math
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    cast,
    func,
    or_,
    select,
    true,
)

from branchtrack.core.queries.directions import is_higher_better
from branchtrack.core.queries.evaluation import lookup
from branchtrack.db.browsing import run_records, saved_views
from branchtrack.db.browsing.run_records import BranchRecord, Extremes, Reading, RunRecord
from branchtrack.db.browsing.saved_views import SavedView
from branchtrack.db.browsing.tables import metric_summaries
from branchtrack.db.browsing.tables import saved_views as view_rows
from branchtrack.db.tables import branches, runs, segments

#: The metric whose best value decides which branch stands for a run.
HELD_OUT = "eval_loss"
#: Metrics and settings that are kept at most.
_MOST_NAMES = 24
#: Runs that are read one by one rather than all anew.
_MOST_RUNS = 1000
#: Runs without a living process that are looked at in each turn: one might come back.
_TURN = 100


#: Minimum, maximum and last value.
Values = tuple[float | None, float | None, float | None]
_NO_VALUES: Values = (None, None, None)


class Stamp(NamedTuple):
    """Numbers that change whenever a run does; ``total`` is the sum of times in milliseconds."""

    runs: int
    latest: float
    total: int
    branches: int
    segments: int


@dataclass
class Metric:
    """A metric in each segment, and by run: minimum, maximum and last value (NaN if none).

    ``stale`` are runs that have changed while nobody asked for the metric.
    """

    by_segment: dict[str, Extremes] = field(default_factory=dict)
    values: dict[str, Values] = field(default_factory=dict)
    steps: int = 0
    stale: set[str] = field(default_factory=set)

    def put(self, row: Extremes) -> None:
        """Take a segment's row in."""
        before = self.by_segment.get(row.segment_id)
        self.by_segment[row.segment_id] = row
        self.steps += row.last_step - (before.last_step if before else 0)

    def of_branch(self, branch: BranchRecord) -> Values:
        """Return minimum, maximum and last value of what a branch has trained itself."""
        rows = [row for s in branch.segments if (row := self.by_segment.get(s.id)) is not None]
        if not rows:
            return _NO_VALUES
        (low, high), last = _extremes((row.minimum, row.maximum) for row in rows), rows[-1].last
        return low, high, math.nan if last is None else last

    def of_run(self, run: RunRecord) -> Values:
        """Return the extremes over a run's branches, and the newest value of its leader."""
        if len(run.branches) == 1:
            return self.of_branch(run.branches[0])
        by_branch = [(branch, self.of_branch(branch)) for branch in run.branches]
        low, high = _extremes((values[0], values[1]) for _branch, values in by_branch)
        last = next((values[2] for branch, values in by_branch if branch is run.leader), None)
        return low, high, last


class RunIndex:
    """What is known of the runs of one database; use it within `opened`."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        #: Every run by id, those in the trash included.
        self.runs: dict[str, RunRecord] = {}
        #: Ids of those that are listed, the latest changed first.
        self.order: list[str] = []
        self.metrics: OrderedDict[str, Metric] = OrderedDict()
        #: Values of settings by name, and by the segment that has them.
        self.settings: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self.views: list[SavedView] = []
        self._views_stamp: tuple[int, float] = (0, 0.0)
        self._stamp: Stamp | None = None
        self._touched: Collection[str] = ()
        self._fresh = set[str]()
        self._open = set[str]()
        self._turn: list[str] = []

    def refresh(
        self, connection: Connection, metrics: Collection[str], settings: Collection[str]
    ) -> None:
        """Bring up to date what is known of runs, of these metrics and of these settings."""
        names = sorted({HELD_OUT, *metrics})
        stamp, checks, views_stamp = _checks(connection, names)
        if views_stamp != self._views_stamp:
            self.views, self._views_stamp = saved_views.every(connection), views_stamp
        missing = {name for name in names if name not in self.metrics}
        if self._stamp is None or not self._catch_up(connection, stamp, names, settings):
            self._read_all(connection, settings)
        wrong = missing | {name for name in names if self._check(name) != checks.get(name, (0, 0))}
        if wrong:
            self._read_metrics(connection, wrong)
        self._choose(names, wrong)
        self._load_settings(connection, settings)
        _forget(self.metrics, names)
        _forget(self.settings, settings)

    def _catch_up(
        self,
        connection: Connection,
        stamp: Stamp,
        names: Sequence[str],
        settings: Collection[str],
    ) -> bool:
        """Read the runs that may have changed; return False if that is not all there is to read."""
        assert self._stamp is not None
        hot = self._fresh.union(self._next_turn())
        for name in names:
            hot |= self.metrics[name].stale if name in self.metrics else set()
        self._touched = ()
        is_same = stamp == self._stamp
        if len(hot) > _MOST_RUNS:
            return False
        if hot or not is_same:
            since = true() if is_same else runs.c.updated_at >= self._stamp.latest
            which = runs.c.id.in_(hot) if is_same else or_(runs.c.id.in_(hot), since)
            reading = run_records.read(
                connection, which, time.time(), metrics=names, with_settings=bool(settings)
            )
            if len(reading.runs) > _MOST_RUNS:
                return False
            self._take(reading, settings)
        return stamp == self._stamp

    def _take(self, reading: Reading, settings: Collection[str]) -> None:
        """Put runs that were read again in the place of what was known of them."""
        before = [run for run_id in reading.runs if (run := self.runs.get(run_id)) is not None]
        self.runs |= reading.runs
        self._touched = set(reading.runs)
        self._adapt(before, list(reading.runs.values()))
        for row in reading.extremes:
            if row.name in self.metrics:
                self.metrics[row.name].put(row)
        for run in reading.runs.values():
            for segment in (s for branch in run.branches for s in branch.segments):
                for name, values in self.settings.items():
                    values.pop(segment.id, None)
                    if segment.id in reading.settings and name in settings:
                        values[segment.id] = lookup(reading.settings[segment.id], name)

    def _adapt(self, before: Sequence[RunRecord], after: Sequence[RunRecord]) -> None:
        """Adapt numbers, order and sets to runs that were read again."""
        assert self._stamp is not None
        old, new, now = _stamp_of(before), _stamp_of(after), self._stamp
        self._stamp = Stamp(
            now.runs + new.runs - old.runs,
            max(now.latest, new.latest),
            now.total + new.total - old.total,
            now.branches + new.branches - old.branches,
            now.segments + new.segments - old.segments,
        )
        self._fresh.difference_update(self._touched)
        self._open.difference_update(self._touched)
        self._sort_out(after)
        moments = ([(run.id, run.updated_at, run.trashed) for run in s] for s in (before, after))
        if len(before) != len(after) or len({tuple(sorted(moment)) for moment in moments}) > 1:
            self._arrange()

    def _sort_out(self, records: Iterable[RunRecord]) -> None:
        for run in records:
            if run.is_fresh:
                self._fresh.add(run.id)
            elif run.is_open:
                self._open.add(run.id)

    def _arrange(self) -> None:
        listed = [run for run in self.runs.values() if not run.trashed]
        listed.sort(key=lambda run: (-run.updated_at, run.id))
        self.order = [run.id for run in listed]

    def _next_turn(self) -> list[str]:
        """Return some of the runs whose process did not end and has not been seen for a while."""
        self._turn = self._turn or sorted(self._open)
        turn, self._turn = self._turn[:_TURN], self._turn[_TURN:]
        return turn

    def _read_all(self, connection: Connection, settings: Collection[str]) -> None:
        reading = run_records.read(connection, None, time.time(), with_settings=bool(settings))
        self.runs = reading.runs
        self._touched = set(self.runs)
        self._stamp = _stamp_of(self.runs.values())
        self._turn, self._fresh, self._open = [], set(), set()
        self._sort_out(self.runs.values())
        self.settings.clear()
        for name in settings:
            items = reading.settings.items()
            self.settings[name] = {key: lookup(values, name) for key, values in items}
        self._arrange()

    def _check(self, name: str) -> tuple[int, int]:
        metric = self.metrics.get(name)
        return (len(metric.by_segment), metric.steps) if metric else (0, 0)

    def _read_metrics(self, connection: Connection, names: Collection[str]) -> None:
        columns = (metric_summaries.c[column.name] for column in _EXTREMES)
        query = select(*columns).where(metric_summaries.c.name.in_(sorted(names)))
        for name in names:
            self.metrics[name] = Metric()
        for row in connection.execute(query):
            self.metrics[row[0]].put(Extremes(*row))

    def _choose(self, names: Sequence[str], anew: set[str]) -> None:
        """Find the branch that stands for each run, and the values of its metrics."""
        held_out = self.metrics[HELD_OUT]
        is_higher = is_higher_better(HELD_OUT)
        leaders = set(self.runs) if HELD_OUT in anew else held_out.stale.union(self._touched)
        leaders &= self.runs.keys()
        for run_id in leaders:
            run = self.runs[run_id]
            if len(run.branches) > 1:
                run.lead(_best_branch(run, held_out, is_higher))
        for name, metric in self.metrics.items():
            if name not in names:
                metric.stale |= leaders
                continue
            changed = self.runs if name in anew else leaders.union(metric.stale, self._touched)
            for run_id in changed:
                if run_id in self.runs:
                    metric.values[run_id] = metric.of_run(self.runs[run_id])
            metric.stale = set()

    def _load_settings(self, connection: Connection, names: Collection[str]) -> None:
        """Read settings of the branches that stand for runs, where they are not there yet."""
        if not names:
            return
        lacking = set[str | None]()
        for name in names:
            # What was known of runs that have not changed is known still.
            ids = self._touched if name in self.settings else self.runs
            leading = {self.runs[run_id].leading for run_id in ids} - {None}
            lacking |= leading.difference(self.settings.setdefault(name, {}))
        if not lacking:
            return
        few = sorted(filter(None, lacking)) if len(lacking) <= _MOST_RUNS else None
        for segment_id, values in run_records.settings_of(connection, few).items():
            for name in names:
                self.settings[name][segment_id] = lookup(values, name)


@contextmanager
def opened(
    connection: Connection, metrics: Collection[str] = (), settings: Collection[str] = ()
) -> Iterator[RunIndex]:
    """Yield the index of a database, up to date, and keep it so for the meantime.

    It has to be the first that is done with the connection: an index is never brought back to an
    earlier moment.
    """
    with _GUARD:
        index = _INDEXES.setdefault(connection.engine, RunIndex())
    with index.lock:
        try:
            index.refresh(connection, metrics, settings)
        except BaseException:
            # Half of it may be newer than the other.
            index.reset()
            raise
        yield index


_GUARD = threading.Lock()
_INDEXES: weakref.WeakKeyDictionary[Engine, RunIndex] = weakref.WeakKeyDictionary()
_EXTREMES = tuple(
    metric_summaries.c[name] for name in "name segment_id minimum maximum last_step last".split()
)


def _checks(
    connection: Connection, names: Sequence[str]
) -> tuple[Stamp, dict[str, tuple[int, int]], tuple[int, float]]:
    """Return the numbers by which changes are noticed: of runs, of metrics, and of saved views."""
    stamp = select(
        select(func.count()).select_from(runs).scalar_subquery().label("runs"),
        select(func.max(runs.c.updated_at)).scalar_subquery().label("latest"),
        select(func.sum(_milliseconds(connection))).scalar_subquery().label("total"),
        select(func.count()).select_from(branches).scalar_subquery().label("branches"),
        select(func.count()).select_from(segments).scalar_subquery().label("segments"),
        select(func.count()).select_from(view_rows).scalar_subquery().label("views"),
        select(func.max(view_rows.c.created_at)).scalar_subquery().label("viewed"),
    ).subquery()
    series = (
        select(
            metric_summaries.c.name,
            func.count().label("series"),
            func.sum(metric_summaries.c.last_step).label("steps"),
        )
        .where(metric_summaries.c.name.in_(names))
        .group_by(metric_summaries.c.name)
        .subquery()
    )
    rows = connection.execute(select(stamp, series).join(series, true(), isouter=True)).all()
    first = rows[0]
    counts = (first.branches, first.segments)
    numbers = Stamp(first.runs, first.latest or 0.0, int(first.total or 0), *counts)
    metrics = {row.name: (row.series, int(row.steps)) for row in rows if row.name is not None}
    return numbers, metrics, (first.views, first.viewed or 0.0)


def _milliseconds(connection: Connection) -> ColumnElement[int]:
    """Return when a run has changed, rounded down: a sum of fractions depends on their order."""
    moment = runs.c.updated_at * 1000
    # SQLite rounds down itself, and does not always have a function for it.
    is_sqlite = connection.dialect.name == "sqlite"
    return cast(moment if is_sqlite else func.floor(moment), BigInteger)


def _stamp_of(every: Iterable[RunRecord]) -> Stamp:
    records = list(every)
    return Stamp(
        len(records),
        max((run.updated_at for run in records), default=0.0),
        sum(int(run.updated_at * 1000) for run in records),
        sum(run.branch_count for run in records),
        sum(run.segment_count for run in records),
    )


def _best_branch(run: RunRecord, held_out: Metric, is_higher: bool) -> BranchRecord | None:
    """Return the branch with the best held-out value, the first of several; None without any."""
    best: BranchRecord | None = None
    best_value = 0.0
    for branch in run.branches:
        low, high, _last = held_out.of_branch(branch)
        value = high if is_higher else low
        if value is None:
            continue
        if best is None or (value > best_value if is_higher else value < best_value):
            best, best_value = branch, value
    return best


def _extremes(
    pairs: Iterable[tuple[float | None, float | None]],
) -> tuple[float | None, float | None]:
    low = high = None
    for least, most in pairs:
        if least is not None and math.isfinite(least) and (low is None or least < low):
            low = least
        if most is not None and math.isfinite(most) and (high is None or most > high):
            high = most
    return low, high


def _forget(known: OrderedDict[str, Any], used: Collection[str]) -> None:
    """Keep what was used lately."""
    for name in used:
        known.move_to_end(name)
    while len(known) > max(_MOST_NAMES, len(used)):
        known.popitem(last=False)
