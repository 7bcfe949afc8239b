"""Curves of metrics, what differs between branches and nodes."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from branchtrack.schemas.bases import Answer, Number, Selection, Whole
from branchtrack.schemas.nodes import NodeLine

_Points = Annotated[int, Field(ge=4, le=100_000)]


class _Window(Selection):
    first: Whole | None = Field(None, alias="from", description="The first step.")
    last: Annotated[int, Field(ge=1, le=2**53)] | None = Field(
        None, alias="to", description="The last step."
    )

    @field_validator("last")
    @classmethod
    def _is_after_the_first(cls, last: int | None, info: ValidationInfo) -> int | None:
        first = info.data.get("first")
        if last is not None and first is not None and first >= last:
            raise ValueError(f"a step greater than {first}")
        return last


class CurveQuery(_Window):
    """One metric along a branch; ``since`` is the ``next`` of an earlier answer."""

    branch: str = Field(description="RUN or RUN/BRANCH")
    metric: str = "loss"
    points: _Points | Literal["all"] = Field(
        "all", description="So many points at most, with extremes kept."
    )
    since: str | None = Field(
        None, description="`next` of an answer before: only newer points are in this one."
    )


class CompareQuery(_Window):
    """Two branches and one metric of theirs."""

    a: str = Field(description="RUN or RUN/BRANCH")
    b: str = Field(description="RUN or RUN/BRANCH")
    metric: str = "loss"
    points: _Points | Literal["all"] = 1000
    others: str | None = Field(
        None, alias="with", description="Up to six more, RUN/BRANCH, with commas between."
    )
    base: str | None = Field(None, description="Of more than two, the one differences are to.")


class DiffQuery(Selection):
    """Two sides: branches, nodes, or one of each."""

    a: str = Field(description="RUN, RUN/BRANCH or a node")
    b: str = Field(description="RUN, RUN/BRANCH or a node")


class MetricsQuery(Selection):
    """Which branch of a run; its default branch if none is named."""

    branch: str | None = None


class SegmentSpan(Answer):
    """The part of a curve that one process logged: steps above ``after``, up to ``upto``."""

    id: str
    after: int
    upto: int | None


class Curve(Answer):
    """One metric along a branch, stitched across forks.

    ``points`` is the number before thinning; ``gaps`` are the steps of values that are not finite.
    ``next`` is the ``since`` of what is new later. ``reset``: points before ``since`` are no longer
    part of the branch, and this is the whole curve again.
    """

    branch: str
    metric: str
    steps: list[int]
    values: list[Number]
    wall_times: list[float]
    gaps: list[int]
    points: int
    segments: list[SegmentSpan]
    forks: list[int]
    next: str | None
    reset: bool


class MetricLine(Answer):
    """A metric with its newest value on a branch."""

    name: str
    step: int
    value: Number


class MetricList(Answer):
    """The metrics of a branch along its whole line, by name."""

    items: ClassVar[str] = "metrics"

    run: str
    branch: str
    metrics: list[MetricLine]


class Side(Answer):
    """One side of a difference, and the nodes that changed something since the common one."""

    ref: str
    branch: str
    node: str
    step: int
    changes: list[NodeLine]


class Difference(Answer):
    """A value of each side."""

    name: str
    a: Any
    b: Any


class Diff(Answer):
    """What differs between two sides; ``common_ancestor`` is the id of a node."""

    a: Side
    b: Side
    common_ancestor: str | None
    common_step: int | None
    settings: list[Difference]
    settings_in_all: int
    metrics: list[Difference]
    data: list[Difference]
    environment: list[Difference]


class ComparedSide(Answer):
    """A branch, a node with all that led to it, or a group with its ``members``."""

    ref: str
    run: str
    branch: str | None
    members: list[str]
    node: str | None
    step: int | None


class ComparedValues(Answer):
    """A thing of which each side has a value; None where it has none."""

    name: str
    values: list[Any]


class RankedSide(Answer):
    """Best and newest value of a side since all parted; ``difference`` is to the base's best."""

    ref: str
    best: Number | None
    best_step: int | None
    last: Number | None
    last_step: int | None
    difference: Number | None


class Ranking(Answer):
    """Sides by their best value of a metric: the one on held-out data, if it is logged."""

    metric: str
    higher_is_better: bool
    lines: list[RankedSide]


class SharedChange(Answer):
    """A node that changed something, and the sides that it lies on."""

    refs: list[str]
    step: int
    node: str
    changes: list[dict[str, Any]]
    actor: str
    message: str


class SideBySide(Answer):
    """More than two sides; ``settings`` and ``environment`` have what is not the same in all.

    ``values`` have one for each of ``sides``, in their order; those of ``data`` are the share of a
    shard.
    """

    sides: list[ComparedSide]
    base: str
    common_ancestor: str | None
    common_step: int | None
    settings: list[ComparedValues]
    settings_in_all: int
    metrics: list[ComparedValues]
    ranking: Ranking
    changes: list[SharedChange]
    data: list[ComparedValues]
    environment: list[ComparedValues]


class Comparison(Diff):
    """The difference of two branches, and one curve of each.

    With further ones ``side_by_side`` has all of them, and ``curves`` theirs by their names.
    """

    metric: str
    curves: dict[str, Curve]
    side_by_side: SideBySide | None


class ModuleDistance(Answer):
    """How far apart the weights of a module are.

    ``distance`` is the length of the difference by that of the weights where the two parted,
    ``moved_a`` and ``moved_b`` that of what each has changed since, ``cosine`` that between both
    changes. Tensors that are the same in all count for nothing; ``equal`` of them are in both.
    """

    name: str
    tensors: int
    equal: int
    elements: int
    distance: Number
    cosine: Number | None
    moved_a: Number | None
    moved_b: Number | None


class WeightDistance(Answer):
    """How far apart the weights of two nodes are, by module, since their common ancestor.

    Without rows they could not be compared, for the reason in ``notes``. If the ancestor's weights
    are not there, ``has_fork`` is false and distances are of the weights of ``a``.
    """

    a: str
    b: str
    ancestor: str | None
    has_fork: bool
    rows: list[ModuleDistance]
    total: ModuleDistance | None
    integers: int
    unmatched: int
    notes: list[str]
