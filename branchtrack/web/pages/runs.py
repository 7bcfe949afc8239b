"""The list of runs: the state of each, and its loss as a small curve."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flask import Blueprint, Response, request
from markupsafe import Markup

from branchtrack.analysis.downsample import downsample
from branchtrack.core import lifecycle
from branchtrack.core import tree as lineages
from branchtrack.core.records import Run, Segment
from branchtrack.db.metrics import Series
from branchtrack.db.views import run_curves, run_list
from branchtrack.db.views.run_curves import Extent
from branchtrack.db.views.run_list import RunSummary, SegmentSummary
from branchtrack.web.charts.plots import sparkline
from branchtrack.web.input.query import page_number
from branchtrack.web.rendering import now, respond
from branchtrack.web.services import services

blueprint = Blueprint("runs", __name__)
PAGE = 50
METRIC = "loss"
#: Curves of at most this many sealed blocks are drawn from points, longer ones from extremes.
_FEW = 4
_PIECES = 60


@dataclass(frozen=True)
class RunRow:
    """A line of the page; the loss and speed of ``segment`` stand for the run."""

    run: Run
    status: str
    branches: int
    nodes: int
    segment: Segment | None
    has_loss: bool
    loss: float | None
    spark: Markup
    unseen: int


@dataclass(frozen=True)
class RunState:
    """The state of a run, and the branch that stands for it."""

    status: str
    line: SegmentSummary | None


@dataclass(frozen=True)
class CutExtent:
    """The extent of a stretch of a curve, and the step after which it belongs to another branch."""

    extent: Extent
    upto: int | None


@blueprint.get("/")
@blueprint.get("/runs")
def index() -> Response:
    """Return the runs that match the search, the most recently changed first."""
    search = request.args.get("q", "").strip()[:200]
    page = page_number()
    with services().database.read() as connection:
        # A search finds what is archived, too.
        lines = run_list.find_runs(
            connection, search, limit=PAGE, offset=PAGE * (page - 1), archived=bool(search)
        )
        ids = [line.run.id for line in lines]
        segments = run_list.segments_of(connection, ids)
        courses = run_curves.series_extents(connection, [s.segment.id for s in segments], METRIC)
        states = {line.run.id: _state(line.run.id, segments) for line in lines}
        course = {run: _course(state, segments, courses) for run, state in states.items()}
        sealed = [block for extents in course.values() for block in _worth_reading(extents)]
        points = run_curves.points_of(connection, sealed)
    rows = [_row(line, states[line.run.id], course[line.run.id], points) for line in lines]
    total = lines[0].total if lines else 0
    return respond(
        "runs/index.html",
        rows=rows,
        search=search,
        page=page,
        total=total,
        more=total > PAGE * page,
    )


def _state(run_id: str, every: Sequence[SegmentSummary]) -> RunState:
    """Return the branch that stands for a run: one in the run's own state, else the first."""
    current = [line for line in every if line.segment.run_id == run_id and line.is_current]
    statuses = [lifecycle.segment_status(line.segment, now()) for line in current]
    status = lifecycle.run_status(statuses)
    fitting = (line for line, word in zip(current, statuses, strict=True) if word == status)
    return RunState(status, next(fitting, current[0] if current else None))


def _course(
    state: RunState, every: Sequence[SegmentSummary], courses: Mapping[str, Sequence[Extent]]
) -> list[CutExtent]:
    """Return the extents along a branch's whole line, each with the step at which it is cut."""
    if state.line is None:
        return []
    starts = {line.segment.id: line.start for line in every}
    return [
        CutExtent(extent, span.upto)
        for span in lineages.lineage(state.line.segment.id, starts.get)
        for extent in courses.get(span.segment, ())
        if span.upto is None or extent.first_step <= span.upto
    ]


def _worth_reading(extents: Sequence[CutExtent]) -> list[tuple[int, int]]:
    """Return the blocks whose extremes are not enough: those of short curves, and cut ones."""
    sealed = [piece for piece in extents if piece.extent.block is not None]
    return [
        piece.extent.block
        for piece in sealed
        if piece.extent.block is not None
        and (len(sealed) <= _FEW or (piece.upto or piece.extent.last_step) < piece.extent.last_step)
    ]


def _row(
    line: RunSummary,
    state: RunState,
    extents: Sequence[CutExtent],
    points: Mapping[tuple[int, int], Series],
) -> RunRow:
    last = extents[-1].extent.last if extents else None
    return RunRow(
        run=line.run,
        status=state.status,
        branches=line.branches,
        nodes=line.nodes,
        segment=state.line.segment if state.line else None,
        has_loss=bool(extents),
        loss=math.nan if extents and last is None else last,
        spark=sparkline([spot for piece in extents for spot in _spots(piece, points)]),
        unseen=line.unseen,
    )


def _spots(
    piece: CutExtent, points: Mapping[tuple[int, int], Series]
) -> list[tuple[float, float | None]]:
    """Return the points to draw of an extent: its extremes, or those of shorter pieces of it."""
    extent, upto = piece.extent, piece.upto
    series = points.get(extent.block) if extent.block else None
    if series is not None:
        thin = downsample(series.cut(-1, upto), _PIECES)
        return list(zip(thin.steps.tolist(), thin.values.tolist(), strict=True))
    if upto is not None and extent.last_step > upto:
        return []
    return [(extent.first_step, extent.maximum), (extent.last_step, extent.minimum)]
