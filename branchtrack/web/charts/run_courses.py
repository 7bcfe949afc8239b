"""Small curves of runs: the loss along the branch that trains, or along the first.

Those of runs that have ended are kept in the process: they change with their run's events alone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress

from markupsafe import Markup
from sqlalchemy import Connection

from branchtrack.analysis.downsample import downsample
from branchtrack.core import tree as lineages
from branchtrack.db.browsing.run_records import RunRecord
from branchtrack.db.views import run_curves
from branchtrack.db.views.run_curves import Extent
from branchtrack.web.charts.plots import sparkline

METRIC = "loss"
_PIECES = 60
_MOST = 5000
#: Curves by run and by when it changed, the oldest first.
_kept: OrderedDict[tuple[str, float], Markup] = OrderedDict()

#: Where each segment of a run starts: another one, and the step.
Starts = Mapping[str, tuple[str, int] | None]


def sparks(
    connection: Connection, runs: Sequence[RunRecord], starts: Mapping[str, Starts]
) -> dict[str, Markup]:
    """Return the curve of each run by its id, with one statement at most."""
    drawn: dict[str, Markup] = {}
    lines: dict[str, list[tuple[str, int | None]]] = {}
    for run in runs:
        kept = None if run.is_open else _kept.get((run.id, run.updated_at))
        if kept is not None:
            drawn[run.id] = kept
        else:
            lines[run.id] = _line(run, starts.get(run.id, {}))
    needed = sorted({segment for line in lines.values() for segment, _upto in line})
    courses = run_curves.series_extents(connection, needed, METRIC) if needed else {}
    for run in runs:
        if run.id not in lines:
            continue
        spots = [
            spot
            for segment, upto in lines[run.id]
            for extent in courses.get(segment, ())
            for spot in _spots(extent, upto)
        ]
        drawn[run.id] = sparkline(spots)
        if not run.is_open:
            _kept[run.id, run.updated_at] = drawn[run.id]
    while len(_kept) > _MOST:
        # Another thread may have taken the last one.
        with suppress(KeyError):
            _kept.popitem(last=False)
    return drawn


def _line(run: RunRecord, starts: Starts) -> list[tuple[str, int | None]]:
    """Return the segments along a run's line, each with the step at which it is cut."""
    branch = run.shown_branch
    if branch is None or branch.segment_id is None:
        return []
    line = lineages.lineage(branch.segment_id, starts.get)
    return [(span.segment, span.upto) for span in line]


def _spots(extent: Extent, upto: int | None) -> list[tuple[float, float | None]]:
    """Return the points to draw of an extent: its extremes, or those of shorter pieces of it."""
    if upto is not None and extent.first_step > upto:
        return []
    if extent.points is not None:
        thin = downsample(extent.points.cut(-1, upto), _PIECES)
        return list(zip(thin.steps.tolist(), thin.values.tolist(), strict=True))
    if upto is not None and extent.last_step > upto:
        return []
    return [(extent.first_step, extent.maximum), (extent.last_step, extent.minimum)]
