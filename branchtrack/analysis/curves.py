"""A branch's curve: its segments laid end to end, each cut where the next begins.

Every reader (page, API, CSV, zoom) uses this module; curves are stitched first and downsampled
after.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from sqlalchemy import Connection

from branchtrack.core import tree
from branchtrack.core.names import storable
from branchtrack.core.records import Branch
from branchtrack.db import metrics, nodes
from branchtrack.db.metrics import Series
from branchtrack.db.views import chart_series
from branchtrack.errors import InvalidInput, NotFound

#: The id of a segment, and a step of as many digits as every database can store.
_CURSOR = re.compile(r"[0-9a-f]{1,32}:[0-9]{1,18}")
_FAR = 2**62


@dataclass(frozen=True)
class Curve:
    """One metric along one branch; ``forks`` are the steps at which a segment ends in the next."""

    branch: Branch
    metric: str
    series: Series
    spans: tuple[tree.Span, ...]

    def cursor(self, step: int) -> str:
        """Return what `step_of` reads later: the segment that has the point of a step, and it."""
        segment = next(
            span.segment
            for span in self.spans
            if span.after < step and (span.upto is None or step <= span.upto)
        )
        return f"{segment}:{step}"

    def step_of(self, cursor: str) -> int | None:
        """Return the step of a cursor; None if points before it are no longer part of the curve.

        Raises:
            InvalidInput: it is no cursor.
        """
        segment, _, text = cursor.partition(":")
        if not _CURSOR.fullmatch(cursor):
            raise InvalidInput("since", cursor, "the `next` of an answer before")
        step = int(text)
        if self.series.steps.size and step > self.series.steps[-1]:
            return None
        # What was before the segment began is before it for ever: only its own end may be cut.
        return next(
            (
                step
                for span in self.spans
                if span.segment == segment and (span.upto is None or step <= span.upto)
            ),
            None,
        )

    @property
    def forks(self) -> list[int]:
        """Return the steps after which the next segment has the points."""
        return [span.upto for span in self.spans if span.upto is not None]


def branch_curve(connection: Connection, branch: Branch, metric: str) -> Curve:
    """Return the whole curve of ``metric`` along ``branch``, inherited points first.

    Raises:
        NotFound: the branch has no such metric; the error lists those it has.
    """
    curve = branch_curves(connection, branch.run_id, [branch], metric)[0]
    if not curve.series.steps.size:
        available = metric_names(connection, [branch])
        if metric not in available:
            raise NotFound("metric", metric, available)
    return curve


def curve_since(
    connection: Connection, branch: Branch, metric: str, cursor: str
) -> tuple[Curve, int | None]:
    """Return the part of a curve from the step of a cursor on, and that step.

    Blocks of points before it are not read. If points before the cursor are no longer part of the
    curve, the whole curve and None are returned.

    Raises:
        NotFound: the branch has no such metric. InvalidInput: it is no cursor.
    """
    (spans,) = _spans(connection, branch.run_id, [branch])
    part = Curve(branch, metric, Series.empty(), tuple(spans))
    step = part.step_of(cursor)
    if step is not None:
        # The cursor's own point, too: without it the curve may have lost its end.
        after = {
            span.segment: max(span.after, step - 1)
            for span in spans
            if span.upto is None or step <= span.upto
        }
        series = chart_series.points_after(connection, after, storable(metric))
        part = replace(part, series=_stitch(spans, series))
        if part.series.steps.size:
            return part, step
    curve = branch_curve(connection, branch, metric)
    return curve, curve.step_of(cursor)


def branch_curves(
    connection: Connection, run_id: str, branches: Sequence[Branch], metric: str
) -> list[Curve]:
    """Return the curves of several branches of one run, with two queries more than for one."""
    spans = _spans(connection, run_id, branches)
    segment_ids = sorted({span.segment for branch_spans in spans for span in branch_spans})
    series = metrics.read(connection, segment_ids, metric)
    return [
        Curve(branch, metric, _stitch(branch_spans, series), tuple(branch_spans))
        for branch, branch_spans in zip(branches, spans, strict=True)
    ]


def metric_names(connection: Connection, branches: Sequence[Branch]) -> list[str]:
    """Return the metrics of any of the branches (of one run) along their whole lines."""
    if not branches:
        return []
    spans = _spans(connection, branches[0].run_id, branches)
    return metrics.names(
        connection, sorted({s.segment for branch_spans in spans for s in branch_spans})
    )


def newest_points(connection: Connection, branch: Branch) -> dict[str, tuple[int, float]]:
    """Return the newest (step, value) of every metric along a branch's whole line, by name.

    However long the series are, only the blocks at their ends are read.
    """
    (spans,) = _spans(connection, branch.run_id, [branch])
    segment_ids = [span.segment for span in spans]
    ends = {span.segment: span.upto for span in spans}
    lows = {segment: _FAR if end is None else end for segment, end in ends.items()}
    names = metrics.names(connection, segment_ids)
    series = chart_series.read_series(
        connection, segment_ids, names, lows=lows, highs=ends, timed=False
    )
    curves = {name: _stitch(spans, by_segment) for name, by_segment in sorted(series.items())}
    return {
        name: (int(curve.steps[-1]), float(curve.values[-1]))
        for name, curve in curves.items()
        if curve.steps.size
    }


def stitched(
    branch: Branch,
    metric: str,
    starts: Mapping[str, tuple[str, int] | None],
    series: Mapping[str, Series],
) -> Curve:
    """Return the curve of what was read: ``starts`` from `nodes.starts`, series by segment."""
    spans = tree.lineage(branch.segment_id, starts.__getitem__) if branch.segment_id else []
    return Curve(branch, metric, _stitch(spans, dict(series)), tuple(spans))


def difference(a: Series, b: Series, after: int | None = None) -> Series:
    """Return ``b - a`` at the steps of both, from ``after`` on (exclusive)."""
    steps, in_a, in_b = np.intersect1d(a.steps, b.steps, assume_unique=True, return_indices=True)
    # Infinite where no float holds it.
    with np.errstate(invalid="ignore", over="ignore"):
        values = b.values[in_b] - a.values[in_a]
    both = Series(steps, values, b.times[in_b])
    return both if after is None else both.cut(after, None)


def _spans(
    connection: Connection, run_id: str, branches: Sequence[Branch]
) -> list[list[tree.Span]]:
    starts = nodes.starts(connection, run_id)
    return [
        tree.lineage(branch.segment_id, starts.__getitem__) if branch.segment_id else []
        for branch in branches
    ]


def _stitch(spans: Sequence[tree.Span], series: dict[str, Series]) -> Series:
    return Series.join(
        [
            series[span.segment].cut(span.after, span.upto)
            for span in spans
            if span.segment in series
        ]
    )
