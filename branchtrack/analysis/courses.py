"""A branch's curve in buckets: stitched like `curves`, at a cost that follows what is shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection

from branchtrack.analysis import curves
from branchtrack.analysis.downsample import downsample
from branchtrack.core import tree
from branchtrack.core.names import storable
from branchtrack.core.records import Branch
from branchtrack.db import nodes
from branchtrack.db.browsing import pyramids
from branchtrack.db.browsing.buckets import Buckets, Floats
from branchtrack.db.metrics import BLOCK, Series
from branchtrack.db.views import course_blocks, course_series
from branchtrack.errors import NotFound

#: More blocks than any series has: all of them as points.
ALL = 2**31
#: Stretches of which the differences of long curves are made.
_STRETCHES = 300


@dataclass(frozen=True)
class Course:
    """One metric along one branch in buckets; ``spans`` are the parts of its segments."""

    branch: Branch
    metric: str
    buckets: Buckets
    spans: tuple[tree.Span, ...]


def stitched(
    branch: Branch,
    metric: str,
    starts: Mapping[str, tuple[str, int] | None],
    buckets: Mapping[str, Buckets],
) -> Course:
    """Return the course of what was read: ``starts`` from `nodes.starts`, buckets by segment."""
    spans = tree.lineage(branch.segment_id, starts.__getitem__) if branch.segment_id else []
    return Course(branch, metric, stitch(spans, buckets), tuple(spans))


def cuts(lines: Iterable[Sequence[tree.Span]]) -> dict[str, set[int]]:
    """Return the steps after which branches leave each segment; ``lines`` are their spans."""
    steps: dict[str, set[int]] = {}
    for span in (span for spans in lines for span in spans):
        if span.upto is not None:
            steps.setdefault(span.segment, set()).add(span.upto)
    return steps


def branch_course(
    connection: Connection,
    branch: Branch,
    metric: str,
    points: int | None = None,
    *,
    first: int | None = None,
    last: int | None = None,
) -> Course:
    """Return a metric along a branch from one step to another, in buckets enough for ``points``.

    Without ``points`` each bucket is a point.

    Raises:
        NotFound: the branch has no such metric; the error lists those it has.
    """
    starts = nodes.starts(connection, branch.run_id)
    spans = tree.lineage(branch.segment_id, starts.__getitem__) if branch.segment_id else []
    shown = [span for span in spans if _overlaps(span, first, last)]
    # Each pair of points that is answered is taken from two buckets or more.
    few = ALL if points is None else max(course_series.FEW, points * pyramids.SIZE // BLOCK)
    by_segment = course_series.read_buckets(
        connection,
        [span.segment for span in shown],
        [storable(metric)],
        cuts=cuts([shown]),
        highs={span.segment: span.upto for span in shown},
        window=(first, last),
        lead_in=0,
        few=few,
    ).get(storable(metric), {})
    buckets = stitch(shown, by_segment).cut(-1 if first is None else first - 1, last)
    if not buckets.steps.size:
        available = curves.metric_names(connection, [branch])
        if metric not in available:
            raise NotFound("metric", metric, available)
    return Course(branch, metric, buckets, tuple(spans))


def thinned(buckets: Buckets, points: int | None) -> Series:
    """Return points of a course, with ``points`` at most about so many; see `downsample`.

    All are points that were logged: the ends, the extremes of stretches, the first of each gap.
    """
    if buckets.are_points:
        whole = points_of(buckets)
        return whole if points is None else downsample(whole, points)
    assert points is not None
    merged = buckets.merged(max(4, points - points % 2) // 2)
    gaps = buckets.gaps
    steps = np.concatenate(
        [merged.low_step, merged.high_step, merged.first[:1], merged.steps[-1:], gaps.steps]
    )
    values = np.concatenate(
        [merged.low, merged.high, merged.first_value[:1], merged.last[-1:], gaps.values]
    )
    times = np.concatenate(
        [merged.low_time, merged.high_time, merged.first_time[:1], merged.times[-1:], gaps.times]
    )
    are_shown = np.isfinite(values)
    are_shown[-gaps.steps.size or values.size :] = ~gaps.follows
    places = np.flatnonzero(are_shown)
    places = places[np.unique(steps[places], return_index=True)[1]]
    return Series(steps[places], values[places], times[places])


def difference(
    base: Buckets, other: Buckets, after: int | None, window: course_blocks.Window = (None, None)
) -> Series:
    """Return ``other - base`` at the steps of both after one, or of means over stretches.

    Long curves have no steps in common. Stretches are a part of the steps in a window.
    """
    low = max(-1 if after is None else after, -1 if window[0] is None else window[0] - 1)
    base, other = base.cut(low, window[1]), other.cut(low, window[1])
    if base.are_points and other.are_points:
        return curves.difference(points_of(base), points_of(other))
    if not base.steps.size or not other.steps.size:
        return Series.empty()
    first = int(max(base.first[0], other.first[0]))
    span = int(min(base.steps[-1], other.steps[-1])) - first
    means = [_means(curve, first, first + span) for curve in (base, other)]
    with np.errstate(over="ignore"):
        gaps = means[1] - means[0]
    known = np.flatnonzero(np.isfinite(gaps))
    steps = first + (known + 1) * span // _STRETCHES
    steps, places = np.unique(steps, return_index=True)
    return Series(steps.astype(np.int64), gaps[known][places], np.zeros(steps.size))


def points_of(buckets: Buckets) -> Series:
    """Return the last point of each bucket."""
    return Series(buckets.steps, buckets.values(), buckets.times)


def _means(curve: Buckets, low: int, high: int) -> Floats:
    """Return the mean of the smoothed curve in each stretch; NaN where it has none."""
    smooth = curve.smooth(0.9)
    inside = (curve.steps >= low) & (curve.steps <= high) & np.isfinite(smooth)
    places = (curve.steps[inside] - low) * _STRETCHES // max(1, high - low + 1)
    sums = np.bincount(places, smooth[inside], _STRETCHES)
    numbers = np.bincount(places, minlength=_STRETCHES)
    means = np.full(_STRETCHES, np.nan)
    np.divide(sums, numbers, out=means, where=numbers > 0)
    return means


def _overlaps(span: tree.Span, first: int | None, last: int | None) -> bool:
    begins = last is None or span.after < last
    return begins and (first is None or span.upto is None or first <= span.upto)


def stitch(spans: Iterable[tree.Span], buckets: Mapping[str, Buckets]) -> Buckets:
    """Return the buckets along some spans, of those by segment."""
    return Buckets.join(
        [
            buckets[span.segment].cut(span.after, span.upto)
            for span in spans
            if span.segment in buckets
        ]
    )
