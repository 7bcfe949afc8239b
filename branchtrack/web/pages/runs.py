"""The list of runs: how each does, and the course of its loss in a line."""

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
from branchtrack.db.views import run_list
from branchtrack.db.views.run_list import RunLine, SegmentLine, Stretch
from branchtrack.web.charts.plots import sparkline
from branchtrack.web.input.query import page_number
from branchtrack.web.rendering import now, respond
from branchtrack.web.services import services

blueprint = Blueprint("runs", __name__)
PAGE = 50
METRIC = "loss"
#: Curves of so few sealed blocks are drawn from their points, longer ones from extremes.
_FEW = 4
_PIECES = 60


@dataclass(frozen=True)
class RunRow:
    """A line of the page. ``segment`` is the one whose loss and speed stand for the run."""

    run: Run
    status: str
    branches: int
    nodes: int
    segment: Segment | None
    has_loss: bool
    loss: float | None
    spark: Markup


@dataclass(frozen=True)
class Shown:
    """The state of a run, and the branch that stands for it."""

    status: str
    line: SegmentLine | None


@dataclass(frozen=True)
class Part:
    """A stretch of a curve, and the step after which it belongs to another branch."""

    stretch: Stretch
    upto: int | None


@blueprint.get("/")
@blueprint.get("/runs")
def index() -> Response:
    """The runs that fit the search, the most lately changed first."""
    search = request.args.get("q", "").strip()[:200]
    page = page_number()
    with services().database.read() as connection:
        lines = run_list.find_runs(connection, search, limit=PAGE, offset=PAGE * (page - 1))
        ids = [line.run.id for line in lines]
        segments = run_list.segments_of(connection, ids)
        courses = run_list.stretches(connection, [s.segment.id for s in segments], METRIC)
        shown = {line.run.id: _shown(line.run.id, segments) for line in lines}
        course = {run: _course(choice, segments, courses) for run, choice in shown.items()}
        sealed = [block for parts in course.values() for block in _worth_reading(parts)]
        points = run_list.points_of(connection, sealed)
    rows = [_row(line, shown[line.run.id], course[line.run.id], points) for line in lines]
    total = lines[0].total if lines else 0
    return respond(
        "runs/index.html",
        rows=rows,
        search=search,
        page=page,
        total=total,
        more=total > PAGE * page,
    )


def _shown(run_id: str, every: Sequence[SegmentLine]) -> Shown:
    """The branch that stands for a run: one in the run's own state, else the first."""
    current = [line for line in every if line.segment.run_id == run_id and line.is_current]
    statuses = [lifecycle.segment_status(line.segment, now()) for line in current]
    status = lifecycle.run_status(statuses)
    fitting = (line for line, word in zip(current, statuses, strict=True) if word == status)
    return Shown(status, next(fitting, current[0] if current else None))


def _course(
    shown: Shown, every: Sequence[SegmentLine], courses: Mapping[str, Sequence[Stretch]]
) -> list[Part]:
    """The stretches along a branch's whole line, each with the step at which it is cut."""
    if shown.line is None:
        return []
    starts = {line.segment.id: line.start for line in every}
    return [
        Part(stretch, span.upto)
        for span in lineages.lineage(shown.line.segment.id, starts.get)
        for stretch in courses.get(span.segment, ())
        if span.upto is None or stretch.first_step <= span.upto
    ]


def _worth_reading(parts: Sequence[Part]) -> list[tuple[int, int]]:
    """The blocks whose extremes do not tell enough: of short curves, and those that are cut."""
    sealed = [piece for piece in parts if piece.stretch.block is not None]
    return [
        piece.stretch.block
        for piece in sealed
        if piece.stretch.block is not None
        and (
            len(sealed) <= _FEW or (piece.upto or piece.stretch.last_step) < piece.stretch.last_step
        )
    ]


def _row(
    line: RunLine, shown: Shown, parts: Sequence[Part], points: Mapping[tuple[int, int], Series]
) -> RunRow:
    last = parts[-1].stretch.last if parts else None
    return RunRow(
        run=line.run,
        status=shown.status,
        branches=line.branches,
        nodes=line.nodes,
        segment=shown.line.segment if shown.line else None,
        has_loss=bool(parts),
        loss=math.nan if parts and last is None else last,
        spark=sparkline([spot for piece in parts for spot in _spots(piece, points)]),
    )


def _spots(
    piece: Part, points: Mapping[tuple[int, int], Series]
) -> list[tuple[float, float | None]]:
    """The points to draw of a stretch: its extremes, or those of shorter pieces of it."""
    stretch, upto = piece.stretch, piece.upto
    series = points.get(stretch.block) if stretch.block else None
    if series is not None:
        thin = downsample(series.cut(-1, upto), _PIECES)
        return list(zip(thin.steps.tolist(), thin.values.tolist(), strict=True))
    if upto is not None and stretch.last_step > upto:
        return []
    return [(stretch.first_step, stretch.maximum), (stretch.last_step, stretch.minimum)]
