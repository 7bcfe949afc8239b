"""A branch's curve: its segments laid end to end, each cut where the next begins.

Every path (page, API, CSV, zoom) comes through here; stitch first, downsample after.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection

from branchtrack.core import tree
from branchtrack.core.records import Branch
from branchtrack.db import metrics, nodes
from branchtrack.db.metrics import Series
from branchtrack.errors import NotFound


@dataclass(frozen=True)
class Curve:
    """One metric along one branch. ``forks`` are the steps at which one segment hands over."""

    branch: Branch
    metric: str
    series: Series
    spans: tuple[tree.Span, ...]

    @property
    def forks(self) -> list[int]:
        """The steps after which the next segment owns the points."""
        return [span.upto for span in self.spans if span.upto is not None]


def branch_curve(connection: Connection, branch: Branch, metric: str) -> Curve:
    """The whole curve of ``metric`` along ``branch``, points inherited from ancestors first.

    Raises:
        NotFound: the branch has no such metric; lists those it has.
    """
    curve = branch_curves(connection, branch.run_id, [branch], metric)[0]
    if not curve.series.steps.size:
        available = metric_names(connection, [branch])
        if metric not in available:
            raise NotFound("metric", metric, available)
    return curve


def branch_curves(
    connection: Connection, run_id: str, branches: Sequence[Branch], metric: str
) -> list[Curve]:
    """The curves of several branches of one run, in two queries more than one needs."""
    spans = _spans(connection, run_id, branches)
    segment_ids = sorted({span.segment for branch_spans in spans for span in branch_spans})
    series = metrics.read(connection, segment_ids, metric)
    return [
        Curve(branch, metric, _stitch(branch_spans, series), tuple(branch_spans))
        for branch, branch_spans in zip(branches, spans, strict=True)
    ]


def metric_names(connection: Connection, branches: Sequence[Branch]) -> list[str]:
    """The metrics that any of the branches (of one run) has along its whole line."""
    if not branches:
        return []
    spans = _spans(connection, branches[0].run_id, branches)
    return metrics.names(
        connection, sorted({s.segment for branch_spans in spans for s in branch_spans})
    )


def stitched(
    branch: Branch,
    metric: str,
    starts: Mapping[str, tuple[str, int] | None],
    series: Mapping[str, Series],
) -> Curve:
    """The curve from what was read already: ``starts`` as `nodes.starts`, series by segment."""
    spans = tree.lineage(branch.segment_id, starts.__getitem__) if branch.segment_id else []
    return Curve(branch, metric, _stitch(spans, dict(series)), tuple(spans))


def difference(a: Series, b: Series, after: int | None = None) -> Series:
    """``b - a`` at the steps that both have, from ``after`` on (exclusive)."""
    steps, in_a, in_b = np.intersect1d(a.steps, b.steps, assume_unique=True, return_indices=True)
    with np.errstate(invalid="ignore"):
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
