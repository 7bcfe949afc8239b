"""Two to eight lines side by side: branches, or nodes with all that led to them.

A line goes from the root to its last node. It is read in few statements, however many lines there
are; the differences are made of what was read. `diff` compares two.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection

from branchtrack.analysis import courses, diff
from branchtrack.core import tree
from branchtrack.core.names import storable
from branchtrack.core.queries.directions import is_higher_better
from branchtrack.core.records import Branch, Node, Run
from branchtrack.db import nodes, runs, segments
from branchtrack.db.browsing.buckets import Buckets
from branchtrack.db.orders import groups
from branchtrack.db.views import chart_series, course_series, tree_nodes, tree_outline
from branchtrack.db.views.chart_series import Metrics
from branchtrack.db.views.tree_outline import NodeSummary
from branchtrack.errors import InvalidInput, NotFound

MOST = 8
HELD_OUT = "eval_loss"


@dataclass(frozen=True)
class Line:
    """A branch up to its newest node, or the way to a node; ``name`` is as short as is distinct.

    ``above`` are the nodes of interest from ``head`` to the root; ``spans`` the parts of segments
    that make up its curves; ``code`` is what its last process recorded of itself.
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
        return rows([line.head.settings if line.head else {} for line in self.lines])

    def newest(self) -> list[Row]:
        """Return the metrics that the heads were committed with, by name."""
        return rows([line.head.metrics if line.head else {} for line in self.lines])

    def changes(self) -> list[tuple[list[Line], NodeSummary]]:
        """Return the nodes with changes since all lines parted, by step, each with its lines."""
        lines: dict[str, list[Line]] = {}
        changed: dict[str, NodeSummary] = {}
        for line in self.lines:
            for node in diff.changed_since(line.above, self.ancestor):
                changed[node.id] = node
                lines.setdefault(node.id, []).append(line)
        ordered = sorted(changed.values(), key=lambda node: (node.step, node.seq))
        return [(lines[node.id], node) for node in ordered]

    def environment(self) -> list[Row]:
        """Return where the heads were made, and from which code, by name."""
        facts = []
        for line in self.lines:
            recorded = {name: line.code.get(name) for name in ("commit", "branch", "python")}
            recorded["uncommitted changes"] = (line.code.get("diff") or "")[:12] or None
            used = line.code.get("imported") or {}
            where = line.head.environment if line.head else {}
            facts.append({**recorded, **where, **{f"package {key}": used[key] for key in used}})
        return [row for row in rows(facts) if any(value is not None for value in row.values)]

    def _rank(self, line: Line, metric: str) -> Rank:
        since = self.curve(line, metric).cut(-1 if self.fork_step is None else self.fork_step, None)
        is_higher = is_higher_better(metric)
        values, steps = (since.high, since.high_step) if is_higher else (since.low, since.low_step)
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


def expanded(connection: Connection, refs: Iterable[str], group_refs: Iterable[str]) -> list[str]:
    """Return references with those of the branches of groups (``RUN/GROUP``), each once.

    Raises:
        NotFound: there is no such run or group.
    """
    every = list(refs)
    for ref in group_refs:
        run_ref, _slash, name = ref.partition("/")
        run = runs.find_run(connection, run_ref)
        by_name = {group.name: group for group in groups.of_run(connection, run.id)}
        if name not in by_name:
            raise NotFound("group", ref, [f"{run.name}/{other}" for other in by_name])
        members = groups.members(connection, by_name[name].id)
        every += [f"{run.name}/{each.name}" for each in members if each.trashed_at is None]
    return list(dict.fromkeys(every))


def read(
    connection: Connection,
    refs: Sequence[str],
    *,
    base: str | None = None,
    metric: str | None = None,
    few: int = course_series.FEW,
) -> SideBySide:
    """Return two to eight lines: ``RUN/BRANCH``, ``RUN``, the id of a node, or ``BRANCH@STEP``.

    Raises:
        NotFound, Ambiguous: a reference fits nothing, or several. InvalidInput: there are too many
        lines, the same twice, or ``base`` is none of them.
    """
    lines = _lines(connection, _sides(connection, refs))
    _check(lines, refs)
    ids = sorted({span.segment for line in lines for span in line.spans})
    metrics = chart_series.list_metrics(connection, ids, metric)
    names = [storable(name) for name in dict.fromkeys((metrics.chosen or "loss", HELD_OUT))]
    ancestor = _ancestor(lines)
    return SideBySide(
        lines,
        _place(lines, base),
        ancestor,
        metrics,
        course_series.read_buckets(connection, ids, names, cuts=_cuts(lines, ancestor), few=few),
    )


def _lines(
    connection: Connection, sides: Sequence[tuple[Run, Branch, Node | None]]
) -> tuple[Line, ...]:
    run_ids = sorted({run.id for run, _branch, _node in sides})
    every = [branch for run_id in run_ids for branch in runs.list_branches(connection, run_id)]
    heads = [node.id if node else branch.head_id or "" for _run, branch, node in sides]
    starts = {branch.start_node_id for branch in every if branch.start_node_id}
    lineage = tree_nodes.lineage(connection, heads, ids=[*heads, *sorted(starts)])
    whole = tree_outline.nodes_by_id(connection, heads)
    origins: dict[str, tuple[str, int] | None] = {}
    for run_id in run_ids:
        origins |= nodes.starts(connection, run_id)
    last = [node.segment_id if node else branch.segment_id for _run, branch, node in sides]
    spans = [
        tuple(tree.lineage(segment, origins.__getitem__)) if segment else () for segment in last
    ]
    codes = segments.codes(connection, {span.segment for each in spans for span in each})
    return tuple(
        Line(
            **_names(run, branch, node, len(run_ids) == 1),
            run=run,
            branch=branch,
            head=whole.get(head),
            is_node=node is not None,
            above=[each for _distance, each in lineage.lines.get(head, ())],
            spans=own,
            code=next((codes[span.segment] for span in own[::-1] if span.segment in codes), {}),
        )
        for (run, branch, node), head, own in zip(sides, heads, spans, strict=True)
    )


def _cuts(lines: Sequence[Line], ancestor: NodeSummary | None) -> dict[str, set[int]]:
    """Return the steps of segments at which lines leave them, end, or are no longer one."""
    cuts = courses.cuts(line.spans for line in lines)
    for line in lines:
        if line.is_node and line.head and line.spans:
            cuts.setdefault(line.spans[-1].segment, set()).add(line.head.step)
    if ancestor is not None:
        cuts.setdefault(ancestor.segment_id, set()).add(ancestor.step)
    return cuts


def _sides(connection: Connection, refs: Sequence[str]) -> list[tuple[Run, Branch, Node | None]]:
    if not 2 <= len(refs) <= MOST:
        raise InvalidInput(
            "with",
            list(refs),
            f"2 to {MOST} different branches or nodes",
            what=f"{len(refs)} branches or nodes were named.",
        )
    known: dict[str, Run] = {}
    listed: dict[str, dict[str, Branch]] = {}

    def run_of(ref: str) -> Run:
        return known.get(ref) or known.setdefault(ref, runs.find_run(connection, ref))

    def side(ref: str) -> tuple[Run, Branch, Node | None]:
        run_ref, slash, name = ref.partition("/")
        is_step = "@" in ref
        node = nodes.find(connection, ref) if is_step else None
        if not slash and not is_step:
            node = nodes.by_prefix(connection, ref)
        if node is not None:
            return run_of(node.run_id), runs.get_branch(connection, node.branch_id), node
        if slash:
            run = run_of(run_ref)
            if run.id not in listed:
                every = runs.list_branches(connection, run.id)
                listed[run.id] = {each.name: each for each in every if each.trashed_at is None}
            if name in listed[run.id]:
                return run, listed[run.id][name], None
        branch = runs.find_branch(connection, ref)
        return run_of(branch.run_id), branch, None

    return [side(ref) for ref in refs]


def _names(run: Run, branch: Branch, node: Node | None, alone: bool) -> dict[str, str]:
    ref = f"{run.name}/{branch.name}"
    if node is None:
        return {"ref": ref, "name": branch.name if alone else ref}
    name = f"{branch.name if alone else ref} at {node.step:,}"
    return {"ref": node.id, "name": name}


def _check(lines: Sequence[Line], refs: Sequence[str]) -> None:
    keys = [line.ref for line in lines]
    for key, ref in zip(keys, refs, strict=True):
        if keys.count(key) > 1:
            raise InvalidInput(
                "with", ref, "branches or nodes, each once", what=f"{ref} is there twice."
            )


def _place(lines: Sequence[Line], base: str | None) -> int:
    if not base:
        return 0
    for place, line in enumerate(lines):
        if base in (line.ref, line.name) or (line.is_node and line.ref.startswith(base)):
            return place
    raise InvalidInput("base", base, "one of " + ", ".join(line.ref for line in lines))


def _ancestor(lines: Sequence[Line]) -> NodeSummary | None:
    """Return the nearest node that is on all lines."""
    shared = [{node.id for node in line.above} for line in lines[1:]]
    return next((node for node in lines[0].above if all(node.id in ids for ids in shared)), None)
