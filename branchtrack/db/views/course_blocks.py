"""The queries for blocks of metrics, as pyramids or, where these are needed, as points.

The database reads the bytes of a block only if it returns them. A statement is made once for each
number of cuts and highs: making one takes longer than answering it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    CompoundSelect,
    Double,
    LargeBinary,
    Select,
    and_,
    bindparam,
    case,
    cast,
    false,
    func,
    literal,
    not_,
    null,
    or_,
    select,
    union_all,
)

from branchtrack.db.browsing.tables import metric_pyramids
from branchtrack.db.tables import metric_blocks, metric_points, metric_series

Window = tuple[int | None, int | None]

_FAR = 2**63 - 1
_STATEMENTS = 100


@dataclass(frozen=True)
class Range:
    """Which blocks are read: those in a window of steps, and ``lead_in`` before it.

    ``highs`` has the last step that is needed of a segment, if it is not that of the window.
    ``cuts`` has steps of a segment after which its points may be left away. In ``fine`` steps all
    points are needed.
    """

    window: Window = (None, None)
    lead_in: int = 0
    highs: Mapping[str, int] = field(default_factory=dict)
    cuts: Mapping[str, Collection[int]] = field(default_factory=dict)
    fine: tuple[int, int] | None = None

    def is_needed(self, segment: str, first: int, last: int) -> bool:
        """Return whether the points of a block are needed, as it may be cut or is looked at."""
        if self.fine is not None and first <= self.fine[1] and last >= self.fine[0]:
            return True
        edges = [self.window[0] - 1] if self.window[0] is not None else []
        edges += [self.window[1]] if self.window[1] is not None else []
        return any(first <= edge < last for edge in (*edges, *self._cuts_of(segment)))

    def pairs(self) -> Iterator[tuple[str, int]]:
        """Yield the segment and the step of every cut."""
        for segment in sorted({*self.cuts, *self.highs}):
            yield from ((segment, cut) for cut in sorted(self._cuts_of(segment)))

    def high(self, segment: str) -> int:
        """Return the last step that is needed of a segment."""
        end = self.window[1]
        return min(self.highs.get(segment, _FAR), _FAR if end is None else end)

    def _cuts_of(self, segment: str) -> set[int]:
        ends = {self.highs[segment]} if segment in self.highs else set()
        return ends | set(self.cuts.get(segment, ()))


def series(segments: Collection[str], names: Collection[str], which: Range) -> tuple[Any, Any]:
    """Return the query for id, segment, name and blocks in the range of each series, and values."""
    low, _high = which.window
    values: dict[str, Any] = {"segments": list(segments), "names": list(names), "low": low}
    values |= _named(
        "high", (item for segment in which.highs for item in (segment, which.high(segment)))
    )
    values["far"] = which.high("")
    return _series(len(which.highs), low is not None), values


def blocks(
    segments: Mapping[int, str], coarse: Collection[int], which: Range
) -> tuple[Any, dict[str, Any]]:
    """Return the query for blocks and tails of series, and its values.

    Its columns: series, first step, last step, pyramid, steps, values, times; value and time of a
    point of a tail, which has no last step. Of ``coarse`` series the pyramids are read.
    """
    ids: dict[str, list[int]] = {}
    for series_id, segment in segments.items():
        ids.setdefault(segment, []).append(series_id)
    cut = [
        (series_id, step)
        for segment, step in which.pairs()
        for series_id in ids.get(segment, [])
        if series_id in coarse
    ]
    ends = [
        (series_id, which.high(segment))
        for segment in which.highs
        for series_id in ids.get(segment, [])
    ]
    low, high = which.window
    values: dict[str, Any] = {"series": list(segments), "coarse": list(coarse)}
    values |= _named("cut", (item for pair in cut for item in pair))
    values |= _named("high", (item for pair in ends for item in pair))
    values |= {"low": low, "end": high, "far": which.high("")}
    if which.fine is not None:
        values |= {"fine_low": which.fine[0], "fine_high": which.fine[1]}
    has = (low is not None, high is not None, which.fine is not None)
    shape = (len(cut), len(ends), *has, which.lead_in)
    return _blocks(*shape), values


@lru_cache(_STATEMENTS)
def _series(highs: int, has_low: bool) -> Select[Any]:
    segment, first = metric_series.c.segment_id, metric_blocks.c.first_step
    inside = [
        metric_blocks.c.series_id == metric_series.c.id,
        first <= _high(segment, highs),
        *([first > bindparam("low")] if has_low else []),
    ]
    count = select(func.count()).select_from(metric_blocks).where(*inside)
    return select(
        metric_series.c.id,
        segment,
        metric_series.c.name,
        count.correlate(metric_series).scalar_subquery(),
    ).where(
        segment.in_(bindparam("segments", expanding=True)),
        metric_series.c.name.in_(bindparam("names", expanding=True)),
    )


@lru_cache(_STATEMENTS)
def _blocks(
    cuts: int, highs: int, has_low: bool, has_high: bool, has_fine: bool, lead_in: int
) -> CompoundSelect[Any]:
    series_id, first = metric_blocks.c.series_id, metric_blocks.c.first_step
    last = metric_blocks.c.last_step
    low, end = bindparam("low", type_=BigInteger), bindparam("end", type_=BigInteger)
    needed: list[ColumnElement[bool]] = [
        and_(
            series_id == bindparam(f"cut_{2 * place}"), *_around(bindparam(f"cut_{2 * place + 1}"))
        )
        for place in range(cuts)
    ]
    conditions: list[ColumnElement[bool]] = [series_id.in_(bindparam("series", expanding=True))]
    conditions += [first <= _high(series_id, highs)]
    if has_low:
        needed.append(and_(first < low, last >= low))
        conditions.append(last >= (_first_needed(low, lead_in) if lead_in else low))
    if has_high:
        needed.append(and_(*_around(end)))
    if has_fine:
        needed.append(and_(first <= bindparam("fine_high"), last >= bindparam("fine_low")))
    pyramid = and_(
        metric_pyramids.c.series_id == series_id,
        metric_pyramids.c.first_step == first,
        series_id.in_(bindparam("coarse", expanding=True)),
        not_(or_(false(), *needed)),
    )
    content = metric_pyramids.c.content
    columns = (metric_blocks.c[name] for name in ("steps", "values", "times"))
    no_number, no_bytes = cast(null(), Double), cast(null(), LargeBinary)
    sealed = (
        select(
            *(series_id, first.label("step"), last, content),
            *(case((content.is_(None), column)).label(f"{column.name}_") for column in columns),
            *(no_number.label("value"), no_number.label("time")),
        )
        .outerjoin(metric_pyramids, pyramid)
        .where(*conditions)
    )
    point = metric_points.c
    tails = select(
        *(point.series_id, point.step, cast(null(), BigInteger)),
        *(no_bytes for _ in range(4)),
        *(point.value, point.time),
    ).where(
        point.series_id.in_(bindparam("series", expanding=True)),
        point.step <= _high(point.series_id, highs),
    )
    return union_all(sealed, tails)


def _around(cut: ColumnElement[int]) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Return the conditions of a block that has points on both sides of a cut."""
    return metric_blocks.c.first_step <= cut, metric_blocks.c.last_step > cut


def _high(owner: ColumnElement[Any], highs: int) -> ColumnElement[int]:
    """Return the last step that is needed, of which so many owners have one of their own."""
    far = bindparam("far", type_=BigInteger)
    if not highs:
        return far
    own = [
        (
            owner == bindparam(f"high_{2 * place}"),
            bindparam(f"high_{2 * place + 1}", type_=BigInteger),
        )
        for place in range(highs)
    ]
    return case(*own, else_=far)


def _first_needed(low: ColumnElement[int], lead_in: int) -> ColumnElement[int]:
    """Return the first step of the block so many before the one of a window's first step."""
    earlier = metric_blocks.alias("earlier")
    query = (
        select(earlier.c.first_step)
        .where(earlier.c.series_id == metric_blocks.c.series_id, earlier.c.first_step <= low)
        .order_by(earlier.c.first_step.desc())
        .limit(1)
        .offset(lead_in)
        .correlate(metric_blocks)
    )
    return func.coalesce(query.scalar_subquery(), literal(-1, BigInteger))


def _named(name: str, items: Iterator[Any]) -> dict[str, Any]:
    return {f"{name}_{place}": item for place, item in enumerate(items)}
