"""Metrics of many segments as buckets: of long series the pyramids are read in place of the points.

Only reads. Which bytes leave the database is decided in `course_blocks`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from sqlalchemy import Connection, select, tuple_

from branchtrack.db.browsing import pyramids
from branchtrack.db.browsing.buckets import Buckets
from branchtrack.db.metrics import Series
from branchtrack.db.tables import metric_blocks
from branchtrack.db.views import course_blocks
from branchtrack.db.views.course_blocks import Range, Window

#: Up to so many blocks of a series are read as points.
FEW = 8
#: So many blocks before a window let every average begin far enough back.
LEAD_IN = 2

_COLUMNS = ("steps", "values", "times")
#: SQLite takes 32,766 parameters in a statement.
_CHUNK = 4000


@dataclass
class _Pieces:
    """What was read of one series; blocks by their first steps."""

    contents: dict[int, bytes] = field(default_factory=dict)
    #: Blocks that have no pyramid, as points that are grouped.
    older: dict[int, Series] = field(default_factory=dict)
    points: dict[int, Series] = field(default_factory=dict)
    tail: list[tuple[int, float | None, float]] = field(default_factory=list)
    last_steps: dict[int, int] = field(default_factory=dict)


def read_buckets(
    connection: Connection,
    segment_ids: Collection[str],
    names: Collection[str],
    *,
    cuts: Mapping[str, Collection[int]] | None = None,
    window: Window = (None, None),
    highs: Mapping[str, int | None] | None = None,
    lead_in: int = LEAD_IN,
    few: int = FEW,
    fine: tuple[int, int] | None = None,
) -> dict[str, dict[str, Buckets]]:
    """Return the metrics of those names, by name and segment, in two statements.

    A series of more than ``few`` blocks in the window comes in buckets of `pyramids.SIZE` points,
    but as points where a cut or an edge of the window lies, and in the tail. Other series come as
    points. ``cuts`` are the steps after which branches leave a segment, ``highs`` those up to which
    a segment is needed. Of a window its blocks are read whole, and ``lead_in`` before it, from
    which averages begin.

    Steps from one to another that are ``fine`` come as points, too.

    Blocks that share steps with other points are read again as points, in a third statement.
    """
    ends = {segment: high for segment, high in (highs or {}).items() if high is not None}
    which = Range(window, lead_in, ends, cuts or {}, fine)
    listed = connection.execute(*course_blocks.series(segment_ids, names, which)).all()
    if not listed:
        return {}
    owners = {series_id: (segment, name) for series_id, segment, name, _blocks in listed}
    coarse = {series_id for series_id, _segment, _name, blocks in listed if blocks > few}
    read = _read(connection, owners, coarse, which)
    shared = {
        (series, step): read[series] for series in coarse for step in _as_points(read[series])
    }
    for (series_id, step), block in _points_of(connection, shared.keys()):
        pieces = shared[series_id, step]
        pieces.points[step] = block
        pieces.contents.pop(step, None)
        pieces.older.pop(step, None)
    buckets: dict[str, dict[str, Buckets]] = {}
    for series_id, pieces in read.items():
        segment, name = owners[series_id]
        if (series := _joined(pieces)).steps.size:
            buckets.setdefault(name, {})[segment] = series
    return buckets


def _read(
    connection: Connection,
    owners: Mapping[int, tuple[str, str]],
    coarse: Collection[int],
    which: Range,
) -> dict[int, _Pieces]:
    read = {series_id: _Pieces() for series_id in owners}
    segments = {series_id: segment for series_id, (segment, _name) in owners.items()}
    rows = connection.execute(*course_blocks.blocks(segments, coarse, which)).all()
    for series_id, step, last, content, steps, values, times, value, time in rows:
        pieces = read[series_id]
        if last is None:
            pieces.tail.append((step, value, time))
            continue
        pieces.last_steps[step] = last
        if content is not None:
            pieces.contents[step] = content
        elif series_id in coarse and not which.is_needed(segments[series_id], step, last):
            pieces.older[step] = _block(steps, values, times)
        else:
            pieces.points[step] = _block(steps, values, times)
    return read


def _as_points(pieces: _Pieces) -> list[int]:
    """Return the first steps of blocks that cannot be shown as buckets.

    Other points lie in their range, or their pyramid was written by another version.
    """
    firsts = sorted([*pieces.contents, *pieces.older])
    if not firsts:
        return []
    first = np.array(firsts, np.int64)
    last = np.array([pieces.last_steps[step] for step in firsts], np.int64)
    steps = _raw(pieces).steps
    shared = np.searchsorted(steps, last, side="right") > np.searchsorted(steps, first)
    shared[1:] |= first[1:] <= np.maximum.accumulate(last)[:-1]
    shared[:-1] |= last[:-1] >= first[1:]
    unreadable = pyramids.unreadable(pieces.contents)
    return [*(firsts[place] for place in np.flatnonzero(shared)), *unreadable]


def _joined(pieces: _Pieces) -> Buckets:
    """Return all of a series in order; blocks and points lie apart from each other."""
    raw = _raw(pieces)
    firsts = sorted([*pieces.contents, *pieces.older])
    before = np.searchsorted(raw.steps, firsts).tolist() if firsts else []
    parts, done = [], 0
    # Neighbours of one kind without points between them, at once.
    runs = groupby(
        zip(before, firsts, strict=True), key=lambda block: (block[0], block[1] in pieces.older)
    )
    for (count, are_older), blocks in runs:
        parts.append(_points(raw, done, count))
        steps = [step for _count, step in blocks]
        if are_older:
            parts.append(_grouped([pieces.older[step] for step in steps]))
        else:
            parts.append(pyramids.unpacked([pieces.contents[step] for step in steps]))
        done = count
    parts.append(_points(raw, done, None))
    return Buckets.join(parts)


def _raw(pieces: _Pieces) -> Series:
    """Return the points that are not in buckets; those of the tail are the newest."""
    parts = [pieces.points[step] for step in sorted(pieces.points)]
    if pieces.tail:
        steps, values, times = zip(*sorted(pieces.tail), strict=True)
        # A value that is not a number is stored as NULL, and becomes NaN again here.
        numbers = np.array(values, np.float64)
        parts.append(Series(np.array(steps, np.int64), numbers, np.array(times)))
    return Series.join(parts)


def _points(raw: Series, first: int, last: int | None) -> Buckets:
    window = slice(first, last)
    return Buckets.of_points(raw.steps[window], raw.values[window], raw.times[window])


def _grouped(blocks: Sequence[Series]) -> Buckets:
    """Return the buckets that the pyramids of blocks would have."""
    ends = np.cumsum([block.steps.size for block in blocks]).tolist()
    starts = [
        np.arange(end - block.steps.size, end, pyramids.SIZE)
        for end, block in zip(ends, blocks, strict=True)
    ]
    steps, values, times = (
        np.concatenate([getattr(block, column) for block in blocks]) for column in _COLUMNS
    )
    return Buckets.of_points(steps, values, times).reduced(np.concatenate(starts))


def _points_of(
    connection: Connection, keys: Collection[tuple[int, int]]
) -> Iterator[tuple[tuple[int, int], Series]]:
    """Yield the points of blocks by series and first step."""
    columns = [metric_blocks.c[name] for name in ("series_id", "first_step", *_COLUMNS)]
    key = tuple_(metric_blocks.c.series_id, metric_blocks.c.first_step)
    ordered = sorted(keys)
    for start in range(0, len(ordered), _CHUNK):
        chunk = ordered[start : start + _CHUNK]
        for series_id, step, *arrays in connection.execute(select(*columns).where(key.in_(chunk))):
            yield (series_id, step), _block(*arrays)


def _block(steps: bytes, values: bytes, times: bytes) -> Series:
    return Series(
        *(np.frombuffer(b, t) for b, t in ((steps, "<i8"), (values, "<f8"), (times, "<f8")))
    )
