"""Metric series: the tail as rows, sealed into blocks of 1,024 points as it grows.

A block is three little-endian arrays: steps (int64), values (float64), times (float64, seconds
since 1970). Only the process that trains a segment writes its series.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, func, select

from branchtrack.core.names import storable
from branchtrack.db import seals, tails
from branchtrack.db.browsing import pyramids, summaries
from branchtrack.db.engine import upsert
from branchtrack.db.tables import metric_blocks, metric_points, metric_series
from branchtrack.db.tails import Tail

BLOCK = 1024
#: Points of a tail that is left as rows when its segment ends.
_SHORT = 64


@dataclass(frozen=True)
class Series:
    """Points of one metric: int64 steps, strictly rising; float64 values and times."""

    steps: NDArray[np.int64]
    values: NDArray[np.float64]
    times: NDArray[np.float64]

    @classmethod
    def empty(cls) -> Series:
        """Return a series without points."""
        return cls(np.empty(0, np.int64), np.empty(0), np.empty(0))

    @classmethod
    def join(cls, parts: Sequence[Series]) -> Series:
        """Join the parts; if a step occurs twice the later point counts."""
        if not parts:
            return cls.empty()
        steps = np.concatenate([series.steps for series in parts])
        values = np.concatenate([series.values for series in parts])
        times = np.concatenate([series.times for series in parts])
        if steps.size > 1 and not bool(np.all(np.diff(steps) > 0)):
            order = np.argsort(steps, kind="stable")
            order = order[np.append(np.diff(steps[order]) > 0, True)]
            steps, values, times = steps[order], values[order], times[order]
        return cls(steps, values, times)

    def cut(self, after: int, upto: int | None) -> Series:
        """Return the points with ``after < step <= upto``."""
        first = int(np.searchsorted(self.steps, after, side="right"))
        last = None if upto is None else int(np.searchsorted(self.steps, upto, side="right"))
        window = slice(first, last)
        return Series(self.steps[window], self.values[window], self.times[window])


@dataclass
class Known:
    """What the one writer of a segment's series need not query again: ids and tails, its run.

    Valid as long as every transaction it was used in has been committed.
    """

    ids: dict[str, int] = field(default_factory=dict)
    tails: dict[int, Tail] = field(default_factory=dict)
    #: The run of the segment, once there are points.
    run_id: str = ""

    def copy(self) -> Known:
        """Return a copy to use in a transaction that may fail."""
        return Known(dict(self.ids), dict(self.tails), self.run_id)


def append(
    connection: Connection,
    segment_id: str,
    points: Iterable[tuple[str, int, float, float]],
    cache: Known | None = None,
) -> None:
    """Add points (name, step, value, time) to a segment's series, and seal what is full.

    A step that a series holds already gets the new value. ``cache`` is kept by the writer between
    calls.
    """
    cache = cache or Known()
    ids = cache.ids
    latest: dict[tuple[int, int], dict[str, Any]] = {}
    for name, step, value, time in points:
        series = ids.get(name) or ids.setdefault(name, _series_id(connection, segment_id, name))
        stored = None if math.isnan(value) else float(value)
        seal = seals.point(series, step, stored, time)
        row = {"series_id": series, "step": step, "value": stored, "time": time, "seal": seal}
        latest[series, step] = row
    if not latest:
        return
    grown = {
        series: tails.extended(
            connection, cache.tails.get(series) or tails.load(connection, series), list(rows)
        )
        for series, rows in groupby(
            sorted(latest.values(), key=itemgetter("series_id")), key=itemgetter("series_id")
        )
    }
    insert = upsert(connection, metric_points)
    latest_wins = insert.on_conflict_do_update(
        index_elements=["series_id", "step"],
        set_={name: insert.excluded[name] for name in ("value", "time", "seal")},
    )
    connection.execute(latest_wins, list(latest.values()))
    cache.run_id = cache.run_id or summaries.run_of(connection, segment_id)
    summaries.extend(connection, cache.run_id, segment_id, ids, latest.values())
    for series, tail in grown.items():
        grown[series] = _seal(connection, tail) if tail.count >= BLOCK else tail
    tails.write(connection, grown.values())
    cache.tails |= grown


def seal_tails(connection: Connection, segment_id: str) -> None:
    """Seal what is left of a segment's tails, once nothing more will be logged to it.

    Short ones stay as they are: their few rows are read as fast.
    """
    query = (
        select(metric_points.c.series_id)
        .join(metric_series, metric_series.c.id == metric_points.c.series_id)
        .where(metric_series.c.segment_id == segment_id)
        .group_by(metric_points.c.series_id)
        .having(func.count() >= _SHORT)
    )
    grown = [tails.load(connection, series_id) for series_id in connection.scalars(query).all()]
    tails.write(connection, [_seal(connection, tail, least=1) for tail in grown])


def names(connection: Connection, segment_ids: Sequence[str]) -> list[str]:
    """Return the metrics that any of the segments has, in alphabetical order."""
    query = select(metric_series.c.name).where(metric_series.c.segment_id.in_(segment_ids))
    return sorted({row.name for row in connection.execute(query)})


def read(connection: Connection, segment_ids: Sequence[str], name: str) -> dict[str, Series]:
    """Return the whole series ``name`` of each of the segments that has it."""
    owners = {
        row.id: row.segment_id
        for row in connection.execute(
            select(metric_series.c.id, metric_series.c.segment_id).where(
                metric_series.c.segment_id.in_(segment_ids),
                metric_series.c.name == storable(name),
            )
        )
    }
    parts: dict[int, list[Series]] = {series: [] for series in owners}
    blocks = (
        select(metric_blocks)
        .where(metric_blocks.c.series_id.in_(owners))
        .order_by(metric_blocks.c.series_id, metric_blocks.c.first_step)
    )
    for row in connection.execute(blocks):
        parts[row.series_id].append(_from_block(row))
    for series, rows in _tails(connection, owners).items():
        parts[series].append(rows)
    return {owners[series]: Series.join(chunks) for series, chunks in parts.items()}


def last_values(connection: Connection, segment_ids: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the newest value of every metric of each segment."""
    values: dict[str, dict[str, float]] = {segment: {} for segment in segment_ids}
    for table, step in ((metric_blocks, "last_step"), (metric_points, "step")):
        newest = (
            select(table.c.series_id, func.max(table.c[step]).label("step"))
            .join(metric_series, metric_series.c.id == table.c.series_id)
            .where(metric_series.c.segment_id.in_(segment_ids))
            .group_by(table.c.series_id)
            .subquery()
        )
        value = table.c.last if table is metric_blocks else table.c.value
        query = (
            select(metric_series.c.segment_id, metric_series.c.name, value.label("value"))
            .join(newest, newest.c.series_id == metric_series.c.id)
            .join(
                table,
                (table.c.series_id == newest.c.series_id) & (table.c[step] == newest.c.step),
            )
        )
        for row in connection.execute(query):
            values[row.segment_id][row.name] = math.nan if row.value is None else row.value
    return values


def _series_id(connection: Connection, segment_id: str, name: str) -> int:
    key = (metric_series.c.segment_id == segment_id) & (metric_series.c.name == name)
    existing = connection.execute(select(metric_series.c.id).where(key)).scalar()
    if existing is not None:
        return int(existing)
    row = {"segment_id": segment_id, "name": name}
    connection.execute(metric_series.insert(), row)
    return int(connection.execute(select(metric_series.c.id).where(key)).scalar_one())


def _tails(connection: Connection, series_ids: Mapping[int, str]) -> dict[int, Series]:
    query = (
        select(metric_points)
        .where(metric_points.c.series_id.in_(series_ids))
        .order_by(metric_points.c.series_id, metric_points.c.step)
    )
    rows: dict[int, list[Any]] = {}
    for row in connection.execute(query):
        rows.setdefault(row.series_id, []).append(row)
    return {series: _from_rows(points) for series, points in rows.items()}


def _from_rows(rows: Sequence[Any]) -> Series:
    return Series(
        np.array([row.step for row in rows], np.int64),
        np.array([math.nan if row.value is None else row.value for row in rows], np.float64),
        np.array([row.time for row in rows], np.float64),
    )


def _from_block(row: Any) -> Series:
    return Series(
        np.frombuffer(row.steps, "<i8"),
        np.frombuffer(row.values, "<f8"),
        np.frombuffer(row.times, "<f8"),
    )


def _seal(connection: Connection, tail: Tail, least: int = BLOCK) -> Tail:
    """Turn parts of a tail with ``least`` points or more into blocks; return what remains."""
    in_series = metric_points.c.series_id == tail.series_id
    count = connection.execute(select(func.count()).where(in_series)).scalar_one()
    before, added = tails.row_seal(connection, tail.series_id), 0
    while count >= least:
        query = select(metric_points).where(in_series).order_by(metric_points.c.step).limit(BLOCK)
        rows = connection.execute(query).all()
        block = _from_rows(rows)
        connection.execute(
            metric_points.delete().where(in_series, metric_points.c.step <= int(block.steps[-1]))
        )
        added += _insert_block(connection, tail.series_id, block)
        # Of what is in the block now: a point that was changed before goes on being noticed.
        tail = tail.minus(seals.point(row.series_id, row.step, row.value, row.time) for row in rows)
        count -= len(rows)
    # Not what blocks there are: one that was removed goes on being noticed, too.
    changed = metric_series.update().where(metric_series.c.id == tail.series_id)
    connection.execute(changed.values(sealed=metric_series.c.sealed + added))
    now = tails.row_seal(connection, tail.series_id)
    return replace(tail.of_other_row(before, now), count=int(count))


def _insert_block(connection: Connection, series_id: int, block: Series) -> int:
    """Write a block; return how many points were added to blocks."""
    # Steps logged a second time may fill a block that starts where an older one does.
    same = (metric_blocks.c.series_id == series_id) & (
        metric_blocks.c.first_step == int(block.steps[0])
    )
    older = connection.execute(select(metric_blocks).where(same)).first()
    if older is not None:
        block = Series.join([_from_block(older), block])
        connection.execute(metric_blocks.delete().where(same))
    numbers = block.values[np.isfinite(block.values)]
    last = float(block.values[-1])
    row = {
        "series_id": series_id,
        "first_step": int(block.steps[0]),
        "last_step": int(block.steps[-1]),
        "count": int(block.steps.size),
        "minimum": float(numbers.min()) if numbers.size else None,
        "maximum": float(numbers.max()) if numbers.size else None,
        "last": None if math.isnan(last) else last,
        "steps": block.steps.astype("<i8").tobytes(),
        "values": block.values.astype("<f8").tobytes(),
        "times": block.times.astype("<f8").tobytes(),
    }
    connection.execute(metric_blocks.insert().values(**row, seal=seals.digest(row)))
    pyramids.write(connection, series_id, block.steps, block.values, block.times)
    return int(block.steps.size) - (0 if older is None else int(older._mapping["count"]))
