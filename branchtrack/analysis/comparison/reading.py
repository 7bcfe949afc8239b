"""The lines of a comparison, read in few statements, however many there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Connection

from branchtrack.analysis import courses
from branchtrack.analysis.comparison.side_by_side import HELD_OUT, Line, SideBySide
from branchtrack.core import tree
from branchtrack.core.names import storable
from branchtrack.core.records import Branch, Node, Run
from branchtrack.db import nodes, runs, segments
from branchtrack.db.orders import groups
from branchtrack.db.views import chart_series, course_series, tree_nodes, tree_outline
from branchtrack.db.views.tree_outline import NodeSummary
from branchtrack.errors import InvalidInput, NotFound

MOST = 8
#: Branches that are read, those of groups among them.
MOST_MEMBERS = 200


def members_of(connection: Connection, group_refs: Iterable[str]) -> dict[str, list[str]]:
    """Return the references of the branches of each group (``RUN/GROUP``).

    Raises:
        NotFound: there is no such run or group, or the group has no branch.
    """
    members_by_group: dict[str, list[str]] = {}
    for ref in group_refs:
        run_ref, _slash, name = ref.partition("/")
        run = runs.find_run(connection, run_ref)
        by_name = {group.name: group for group in groups.of_run(connection, run.id)}
        if name not in by_name:
            raise NotFound("group", ref, [f"{run.name}/{other}" for other in by_name])
        members = groups.members(connection, by_name[name].id)
        refs = [f"{run.name}/{each.name}" for each in members if each.trashed_at is None]
        if not refs:
            raise NotFound("group", ref)
        members_by_group[f"{run.name}/{name}"] = refs
    return members_by_group


def read(
    connection: Connection,
    refs: Sequence[str],
    *,
    grouped: Mapping[str, Sequence[str]] | None = None,
    base: str | None = None,
    metric: str | None = None,
) -> SideBySide:
    """Return two to eight lines: ``RUN/BRANCH``, ``RUN``, the id of a node, or ``BRANCH@STEP``.

    ``grouped`` are references of groups' branches: each group is one line more, and one is enough.

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
    single = _lines(connection, _sides(connection, every))
    _check(single[: len(refs)], refs)
    lines = _with_groups(single, len(refs), grouped)
    ids = sorted({span.segment for line in single for span in line.spans})
    metrics = chart_series.list_metrics(connection, ids, metric)
    names = [storable(name) for name in dict.fromkeys((metrics.chosen or "loss", HELD_OUT))]
    ancestor = _ancestor(lines)
    return SideBySide(
        lines,
        _place(lines, base),
        ancestor,
        metrics,
        course_series.read_buckets(connection, ids, names, cuts=_cuts(single, ancestor)),
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
            *_names(run, branch, node, len(run_ids) == 1),
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


def _sides(connection: Connection, refs: Sequence[str]) -> list[tuple[Run, Branch, Node | None]]:
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
