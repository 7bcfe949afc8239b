"""The lines of a comparison, read in few statements, however many there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Connection

from branchtrack.analysis import courses
from branchtrack.analysis.comparison.side_by_side import HELD_OUT, Line, SideBySide
from branchtrack.analysis.comparison.sides import MOST as MOST
from branchtrack.analysis.comparison.sides import Directory, Side
from branchtrack.core import tree
from branchtrack.core.names import storable
from branchtrack.core.records import Branch, Node, Run
from branchtrack.db.views import chart_series, course_series, tree_nodes
from branchtrack.db.views.chart_series import Metrics
from branchtrack.db.views.rosters import Roster
from branchtrack.db.views.tree_nodes import Lineage
from branchtrack.db.views.tree_outline import NodeSummary
from branchtrack.errors import InvalidInput

#: Branches that are read, those of groups among them.
MOST_MEMBERS = 200


def read(
    connection: Connection,
    refs: Sequence[str],
    *,
    grouped: Mapping[str, Sequence[str]] | None = None,
    base: str | None = None,
    metric: str | None = None,
    counter: str | None = None,
    directory: Directory | None = None,
) -> SideBySide:
    """Return two to eight lines: ``RUN/BRANCH``, ``RUN``, the id of a node, or ``BRANCH@STEP``.

    ``grouped`` are references of groups' branches: each group is one line more, and one is enough.
    ``directory`` is one of all references, if there is one already. ``counter`` is a metric that is
    read, too, as the horizontal axis.

    Raises:
        NotFound, Ambiguous: a reference fits nothing, or several. InvalidInput: there are too many
        lines, the same twice, or ``base`` is none of them.
    """
    grouped = grouped or {}
    count = len(refs) + len(grouped)
    if not (1 if grouped else 2) <= count <= MOST:
        what = f"{count} branches, groups or nodes were named."
        raise InvalidInput("with", list(refs), f"2 to {MOST} different ones", what=what)
    every = [*refs, *(ref for each in grouped.values() for ref in each)]
    if len(every) > MOST_MEMBERS:
        raise InvalidInput("group", list(grouped), f"groups of {MOST_MEMBERS} branches in all")
    single = _lines(connection, directory or Directory(connection, every), every)
    _check(single[: len(refs)], refs)
    lines = _with_groups(single, len(refs), grouped)
    ids = sorted({span.segment for line in single for span in line.spans})
    metrics = chart_series.list_metrics(connection, ids, metric)
    wanted = filter(None, (metrics.chosen or "loss", HELD_OUT, counter))
    names = [storable(name) for name in dict.fromkeys(wanted)]
    ancestor = _ancestor(lines)
    return SideBySide(
        lines,
        _place(lines, refs, base),
        ancestor,
        metrics,
        course_series.read_buckets(connection, ids, names, cuts=_cuts(single, ancestor)),
    )


def read_heads(connection: Connection, refs: Sequence[str]) -> SideBySide:
    """Return lines without their curves, for what their newest nodes say; two may be the same."""
    lines = _lines(connection, Directory(connection, refs), refs)
    return SideBySide(lines, 0, _ancestor(lines), Metrics((), None, 0), {})


def _lines(connection: Connection, directory: Directory, refs: Sequence[str]) -> tuple[Line, ...]:
    sides = [directory.side(ref) for ref in refs]
    run_ids = {side.run.id for side in sides}
    roster = directory.roster
    starts = {branch.start_node_id for branch in roster.branches.values() if branch.start_node_id}
    heads = [side.head_id or "" for side in sides]
    lineage = tree_nodes.lineage(connection, heads, ids=[*heads, *sorted(starts)], whole=True)
    return tuple(_line(side, len(run_ids) == 1, lineage, roster) for side in sides)


def _line(side: Side, alone: bool, lineage: Lineage, roster: Roster) -> Line:
    head = lineage.heads.get(side.head_id or "")
    node = head if side.is_node else None
    last = node.segment_id if node else side.branch.segment_id
    spans = tuple(tree.lineage(last, roster.starts.__getitem__)) if last else ()
    codes = (roster.codes[span.segment] for span in spans[::-1] if span.segment in roster.codes)
    return Line(
        *_names(side.run, side.branch, node, alone),
        run=side.run,
        branch=side.branch,
        head=head,
        is_node=node is not None,
        above=[each for _distance, each in lineage.lines.get(side.head_id or "", ())],
        spans=spans,
        code=next(codes, {}),
    )


def _with_groups(
    single: Sequence[Line], first: int, grouped: Mapping[str, Sequence[str]]
) -> tuple[Line, ...]:
    """Return the first lines, and one for each group of the others."""
    lines = list(single[:first])
    for ref, refs in grouped.items():
        members = tuple(single[first : first + len(refs)])
        first += len(refs)
        shared = [{node.id for node in member.above} for member in members]
        above = [node for node in members[0].above if all(node.id in ids for ids in shared)]
        name = ref.partition("/")[2]
        lines.append(
            replace(
                members[0], ref=ref, name=name, head=None, above=above, code={}, members=members
            )
        )
    return tuple(lines)


def _cuts(lines: Sequence[Line], ancestor: NodeSummary | None) -> dict[str, set[int]]:
    """Return the steps of segments at which lines leave them, end, or are no longer one."""
    cuts = courses.cuts(line.spans for line in lines)
    for line in lines:
        if line.is_node and line.head and line.spans:
            cuts.setdefault(line.spans[-1].segment, set()).add(line.head.step)
    if ancestor is not None:
        cuts.setdefault(ancestor.segment_id, set()).add(ancestor.step)
    return cuts


def _names(run: Run, branch: Branch, node: Node | None, alone: bool) -> tuple[str, str]:
    """Return the reference of a line, and its name."""
    ref = f"{run.name}/{branch.name}"
    shortest = branch.name if alone else ref
    return (ref, shortest) if node is None else (node.id, f"{shortest} at {node.step:,}")


def _check(lines: Sequence[Line], refs: Sequence[str]) -> None:
    keys = [line.ref for line in lines]
    for key, ref in zip(keys, refs, strict=True):
        if keys.count(key) > 1:
            raise InvalidInput(
                "with", ref, "branches or nodes, each once", what=f"{ref} is there twice."
            )


def _place(lines: Sequence[Line], refs: Sequence[str], base: str | None) -> int:
    if not base:
        return 0
    if base in refs:
        return refs.index(base)
    for place, line in enumerate(lines):
        if base in (line.ref, line.name) or (line.is_node and line.ref.startswith(base)):
            return place
    raise InvalidInput("base", base, "one of " + ", ".join(line.ref for line in lines))


def _ancestor(lines: Sequence[Line]) -> NodeSummary | None:
    """Return the nearest node that is on all lines."""
    shared = [{node.id for node in line.above} for line in lines[1:]]
    return next((node for node in lines[0].above if all(node.id in ids for ids in shared)), None)
