"""Two to eight lines side by side: branches, nodes with all that led to them, or groups.

The differences are made of what `reading` has read. `diff` compares two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from branchtrack.analysis import courses, diff
from branchtrack.analysis.comparison import bands
from branchtrack.core import tree
from branchtrack.core.names import storable
from branchtrack.core.queries.directions import is_higher_better
from branchtrack.core.records import Branch, Node, Run
from branchtrack.db.browsing.buckets import Buckets
from branchtrack.db.storage.texts import digest_of
from branchtrack.db.views.chart_series import Metrics
from branchtrack.db.views.tree_outline import NodeSummary

HELD_OUT = "eval_loss"


@dataclass(frozen=True)
class Line:
    """A branch up to its newest node, or the way to a node; ``name`` is as short as is distinct.

    ``above`` are the nodes of interest from ``head`` to the root; ``spans`` the parts of segments
    that make up its curves; ``code`` is what its last process recorded of itself. One with
    ``members`` is a group: its curve is their mean between their extremes, ``above`` what all have.
    """

    ref: str
    name: str
    run: Run
    branch: Branch
    head: Node | None
    is_node: bool
    above: Sequence[NodeSummary]
    spans: tuple[tree.Span, ...]
    code: Mapping[str, Any]
    members: tuple[Line, ...] = ()


@dataclass(frozen=True)
class Rank:
    """Best and newest number of a metric on a line since the lines parted, with their steps."""

    line: Line
    best: float | None
    best_step: int | None
    last: float | None
    last_step: int | None


@dataclass(frozen=True)
class Row:
    """A thing of which each line has a value; None where it has none."""

    name: str
    values: tuple[Any, ...]

    @property
    def differs(self) -> bool:
        """Return whether not all values are the same."""
        return any(value != self.values[0] for value in self.values[1:])


@dataclass(frozen=True)
class SideBySide:
    """Lines and the metrics that were read of them; differences are to the line at ``base``.

    ``ancestor`` is the nearest node that all lines have. ``buckets`` are by metric and segment.
    """

    lines: tuple[Line, ...]
    base: int
    ancestor: NodeSummary | None
    metrics: Metrics
    buckets: Mapping[str, Mapping[str, Buckets]]

    @property
    def fork_step(self) -> int | None:
        """Return the step after which the lines are no longer all the same."""
        return None if self.ancestor is None else self.ancestor.step

    @property
    def metric(self) -> str:
        """Return the metric that is shown."""
        return self.metrics.chosen or "loss"

    @property
    def ranked_by(self) -> str:
        """Return the metric that lines are ranked by: the one on data not trained on, if any."""
        return HELD_OUT if self.buckets.get(HELD_OUT) else self.metric

    def curve(self, line: Line, metric: str) -> Buckets:
        """Return the whole curve of a line."""
        if line.members:
            return bands.band([self.curve(member, metric) for member in line.members])
        by_segment = self.buckets.get(storable(metric), {})
        whole = courses.stitch(line.spans, by_segment)
        return whole.cut(-1, line.head.step) if line.is_node and line.head else whole

    def ranking(self, metric: str) -> list[Rank]:
        """Return the lines by their best value since they parted, the best first."""
        ranks = [self._rank(line, metric) for line in self.lines]
        sign = -1 if is_higher_better(metric) else 1
        worst = math.inf
        return sorted(ranks, key=lambda rank: worst if rank.best is None else sign * rank.best)

    def settings(self) -> list[Row]:
        """Return all settings in force at the heads, by name."""
        return rows([_settings(line) for line in self.lines])

    def newest(self) -> list[Row]:
        """Return the metrics that the heads were committed with, by name."""
        return rows([line.head.metrics if line.head else {} for line in self.lines])

    def changes(self) -> list[tuple[list[Line], NodeSummary]]:
        """Return the nodes with changes since all lines parted, by step, each with its lines.

        The changes of a group are those of its members.
        """
        lines: dict[str, dict[int, Line]] = {}
        changed: dict[str, NodeSummary] = {}
        for place, line in enumerate(self.lines):
            for member in line.members or (line,):
                for node in diff.changed_since(member.above, self.ancestor):
                    changed[node.id] = node
                    lines.setdefault(node.id, {})[place] = line
        ordered = sorted(changed.values(), key=lambda node: (node.step, node.seq))
        return [(list(lines[node.id].values()), node) for node in ordered]

    def environment(self) -> list[Row]:
        """Return where the heads were made, and from which code, by name."""
        facts = [_surroundings(line) for line in self.lines]
        return [row for row in rows(facts) if any(value is not None for value in row.values)]

    def _rank(self, line: Line, metric: str) -> Rank:
        since = self.curve(line, metric).cut(-1 if self.fork_step is None else self.fork_step, None)
        is_higher = is_higher_better(metric)
        values, steps = (since.high, since.high_step) if is_higher else (since.low, since.low_step)
        if line.members:
            # A group is ranked by the mean that is drawn, not by its luckiest member.
            values, steps = since.last, since.steps
        known = np.flatnonzero(np.isfinite(values))
        ends = np.flatnonzero(np.isfinite(since.last))
        if not known.size:
            return Rank(line, None, None, None, None)
        place = known[np.argmax(values[known]) if is_higher else np.argmin(values[known])]
        best = float(values[place]), int(steps[place])
        if not ends.size:
            return Rank(line, *best, None, None)
        return Rank(line, *best, float(since.last[ends[-1]]), int(since.steps[ends[-1]]))


def rows(by_line: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return the values of each name in all of the mappings, by name."""
    names = sorted({name for values in by_line for name in values})
    return [Row(name, tuple(values.get(name) for values in by_line)) for name in names]


def shared(line: Line, read: Callable[[Line], Any]) -> Any:
    """Return what is read of a line; of a group what all of its members have, else None."""
    values = [read(member) for member in line.members or (line,)]
    return values[0] if all(value == values[0] for value in values) else None


def _surroundings(line: Line) -> dict[str, Any]:
    """Return where the head was made, and from which code; of a group ``several`` if not of one."""
    if line.members:
        members = rows([_surroundings(member) for member in line.members])
        return {row.name: "several" if row.differs else row.values[0] for row in members}
    recorded = {name: line.code.get(name) for name in ("commit", "branch", "python")}
    recorded["uncommitted changes"] = (line.code.get("diff") or "")[:12] or None
    sources = sorted((line.code.get("sources") or {}).items())
    recorded["own code"] = digest_of(repr(sources))[:12] if sources else None
    used = line.code.get("imported") or {}
    where = line.head.environment if line.head else {}
    return {**recorded, **where, **{f"package {key}": used[key] for key in used}}


def _settings(line: Line) -> dict[str, Any]:
    """Return the settings in force at the head; of a group, a range of several values."""
    if not line.members:
        return dict(line.head.settings) if line.head else {}
    return {
        row.name: bands.span_of(row.values) if row.differs else row.values[0]
        for row in rows([_settings(member) for member in line.members])
    }
