"""The nodes that a page of a tree shows, in one statement: a page of its log, the heads of its
branches, those worth a mark on the timeline, and a few sums over all.

Only reads. It must not know what a page looks like.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Text,
    and_,
    case,
    cast,
    false,
    func,
    literal,
    null,
    or_,
    select,
    true,
    union,
)

from branchtrack.core.records import Change
from branchtrack.db.deletion import visibility
from branchtrack.db.tables import checkpoints, nodes
from branchtrack.db.views.tree_outline import NodeSummary

#: Columns that are read only for nodes shown in detail.
_BULK = ("metrics", "effective", "compared")
_CHANGED = cast(nodes.c.changes, Text) != "[]"


@dataclass(frozen=True)
class Thinning:
    """Which nodes are worth a mark: every change, fork and end, and of plain checkpoints between
    the steps ``low`` and ``high`` one in each of ``buckets`` stretches of a branch."""

    low: int
    high: int
    buckets: int


@dataclass(frozen=True)
class TreeNodes:
    """The nodes read for a page of a tree.

    ``page`` holds rows of the log, newest first; ``above`` the newer nodes whose parents are not
    above the page; ``marks`` those worth a mark, newest first, without metrics. ``shown`` counts
    the nodes in all pages, ``newer`` those of them before this page; ``older`` and ``previous`` are
    the ``before`` of the pages after and before it.
    """

    by_id: Mapping[str, NodeSummary] = field(default_factory=dict)
    page: tuple[NodeSummary, ...] = ()
    above: tuple[NodeSummary, ...] = ()
    marks: tuple[NodeSummary, ...] = ()
    count: int = 0
    shown: int = 0
    newer: int = 0
    older: int | None = None
    previous: int | None = None
    stored_bytes: int = 0
    logical_bytes: int = 0
    best_id: str | None = None


def read(
    connection: Connection,
    run_id: str,
    *,
    ids: Iterable[str] = (),
    branch_ids: Collection[str] = (),
    before: int | None = None,
    limit: int = 0,
    marks: Thinning | None = None,
    best: str | None = None,
) -> TreeNodes:
    """Return a page of at most ``limit`` nodes with ``seq < before``, and the nodes in ``ids``.

    ``branch_ids`` narrows page and marks. ``best`` names the metric whose lowest value is searched;
    without it there are no sums of bytes either.
    """
    run = visibility.nodes_of(run_id)
    listed = and_(run, nodes.c.branch_id.in_(branch_ids)) if branch_ids else run
    earlier = true() if before is None else nodes.c.seq < before
    # Each is a table of its own for the statement: it is computed once, however often it is named.
    page = _table("page", _first(select(nodes.c.id).where(listed, earlier), limit + 1))
    parents = select(nodes.c.parent_id).where(nodes.c.id.in_(page))
    named = select(nodes.c.id).where(nodes.c.id.in_(list(ids)))
    lowest = [] if best is None else [_table("best", _best(run, best))]
    whole = _table("whole", union(page, named, parents, *lowest))
    above = None if before is None else _table("above", _above(listed, before))
    marked = None if marks is None else _table("marked", _marked(listed, marks))
    places = [ids for ids in (above, marked) if ids is not None]
    query = (
        _summaries(nodes.c.id.in_(whole))
        .add_columns(
            nodes.c.id.in_(page).label("in_page"),
            _is_in(above).label("is_above"),
            _is_in(marked).label("is_marked"),
            *_counts(run, listed, before, limit),
            *(_sums(run, lowest[0]) if lowest else ()),
        )
        # By their keys: a scan would read the settings of every node of the run.
        .where(nodes.c.id.in_(union(whole, *places)))
        .order_by(nodes.c.seq.desc())
    )
    return _gathered(connection.execute(query).all(), limit)


def node_summaries(connection: Connection, run_id: str) -> list[NodeSummary]:
    """Return all nodes of a run, oldest first, each with its metrics, none with `effective`."""
    query = (
        _summaries(true(), without=("effective",))
        .where(visibility.nodes_of(run_id))
        .order_by(nodes.c.seq)
    )
    return [_summary(row._mapping) for row in connection.execute(query)]


def page(
    connection: Connection,
    run_id: str,
    limit: int,
    after: int,
    *,
    branch_id: str | None = None,
    kind: str | None = None,
) -> tuple[list[NodeSummary], int]:
    """Return the first nodes with ``seq > after``, oldest first, and how many there are in all."""
    listed = [visibility.nodes_of(run_id)]
    listed += [] if branch_id is None else [nodes.c.branch_id == branch_id]
    listed += [] if kind is None else [nodes.c.kind == kind]
    query = _summaries(true(), without=("effective",)).where(*listed, nodes.c.seq > after)
    rows = connection.execute(query.order_by(nodes.c.seq).limit(limit))
    total = connection.execute(select(func.count()).select_from(nodes).where(*listed))
    return [_summary(row._mapping) for row in rows], int(total.scalar_one())


@dataclass(frozen=True)
class Lineage:
    """Nodes by id, and the relevant ones on the way from some nodes up to the root.

    ``lines`` has for each of them (distance, node), nearest first: the node itself, its parent,
    what changed something or began a branch, the root, and those that were named.
    """

    by_id: Mapping[str, NodeSummary]
    lines: Mapping[str, Sequence[tuple[int, NodeSummary]]]


def lineage(
    connection: Connection,
    heads: Iterable[str],
    *,
    ids: Iterable[str] = (),
    children_of: str | None = None,
) -> Lineage:
    """Return the ways up from ``heads``, the nodes named in ``ids``, and the children of one.

    Metrics and values read back are present only for the named ones and the children.
    """
    start = select(
        nodes.c.id.label("head"), nodes.c.id, nodes.c.parent_id, literal(0).label("distance")
    ).where(nodes.c.id.in_(list(heads)))
    line = start.cte("line", recursive=True)
    above = select(line.c.head, nodes.c.id, nodes.c.parent_id, line.c.distance + 1)
    line = line.union_all(above.join(line, nodes.c.id == line.c.parent_id))
    run_ids = select(nodes.c.run_id).where(nodes.c.id == children_of)
    children = select(nodes.c.id).where(
        nodes.c.run_id.in_(run_ids),
        or_(nodes.c.parent_id == children_of, nodes.c.merge_parent_id == children_of),
        visibility.nodes_of_any(),
    )
    named = _table("named", union(select(nodes.c.id).where(nodes.c.id.in_(list(ids))), children))
    worth = or_(line.c.distance <= 1, nodes.c.parent_id.is_(None), _is_plain() == 0)
    notable = select(nodes.c.id).join(line, line.c.id == nodes.c.id).where(worth)
    query = (
        _summaries(nodes.c.id.in_(named))
        .add_columns(line.c.head, line.c.distance)
        .outerjoin(line, line.c.id == nodes.c.id)
        .where(nodes.c.id.in_(union(named, notable)))
        .order_by(nodes.c.seq.desc())
    )
    by_id: dict[str, NodeSummary] = {}
    lines: dict[str, list[tuple[int, NodeSummary]]] = {}
    for row in connection.execute(query):
        node = by_id.get(row.id) or by_id.setdefault(row.id, _summary(row._mapping))
        if row.head is not None:
            lines.setdefault(row.head, []).append((row.distance, node))
    ordered = {head: sorted(line, key=lambda pair: pair[0]) for head, line in lines.items()}
    return Lineage(by_id, ordered)


def _summaries(whole: ColumnElement[bool], without: Collection[str] = ()) -> Select[Any]:
    columns = [
        null().label(name)
        if name in without
        else case((whole, nodes.c[name])).label(name)
        if name in _BULK
        else nodes.c[name]
        for name in NodeSummary.__annotations__
        if name in nodes.c
    ]
    sizes = (checkpoints.c.stored_bytes, checkpoints.c.logical_bytes)
    return select(*columns, *sizes).join(checkpoints, checkpoints.c.digest == nodes.c.state_digest)


def _table(name: str, query: Any) -> Select[Any]:
    cte = query.cte(name)
    return select(cte.c[0])


def _first(query: Select[Any], limit: int) -> Select[Any]:
    return query.order_by(nodes.c.seq.desc()).limit(limit)


def _best(run: ColumnElement[bool], metric: str) -> Any:
    stored = nodes.c.metrics[metric]
    # NaN and the infinities are kept as their names, which SQLite would take for 0.
    is_number = stored.as_string().not_ilike("%n%")
    query = select(nodes.c.id).where(run, is_number).order_by(stored.as_float(), nodes.c.seq)
    return query.limit(1)


def _above(listed: ColumnElement[bool], before: int) -> Select[Any]:
    parent = nodes.alias("parent")
    joined = select(nodes.c.id).join(parent, parent.c.id == nodes.c.parent_id)
    return joined.where(listed, nodes.c.seq >= before, parent.c.seq < before)


def _is_in(ids: Select[Any] | None) -> ColumnElement[bool]:
    return false() if ids is None else nodes.c.id.in_(ids)


def _marked(listed: ColumnElement[bool], marks: Thinning) -> Select[Any]:
    span = max(1, marks.high - marks.low)
    bucket = (nodes.c.step - marks.low) * marks.buckets // span
    nth = func.row_number().over(
        partition_by=(nodes.c.branch_id, bucket, _is_plain()), order_by=nodes.c.seq
    )
    inside = (nodes.c.step >= marks.low, nodes.c.step <= marks.high)
    ranked = select(nodes.c.id, nth.label("nth"), _is_plain().label("plain"))
    few = ranked.where(listed, *inside).subquery()
    return select(few.c.id).where(or_(few.c.nth == 1, few.c.plain == 0))


def _is_plain() -> ColumnElement[int]:
    return case((or_(nodes.c.kind != "checkpoint", _CHANGED), 0), else_=1)


def _counts(
    run: ColumnElement[bool], listed: ColumnElement[bool], before: int | None, limit: int
) -> list[Any]:
    """Return the page's position among all nodes, computed once and returned with every row."""
    count = select(func.count()).select_from(nodes)
    counts = {"count": count.where(run), "shown": count.where(listed)}
    if before is not None:
        newer = nodes.c.seq >= before
        counts["newer"] = count.where(listed, newer)
        previous = select(nodes.c.seq).where(listed, newer).order_by(nodes.c.seq)
        counts["previous"] = previous.limit(1).offset(limit)
    return [_once(query, name) for name, query in counts.items()]


def _sums(run: ColumnElement[bool], best: Select[Any]) -> list[Any]:
    """Return the bytes of all checkpoints, each stored one counted once, and the best node."""
    stored = select(func.sum(checkpoints.c.stored_bytes)).where(
        checkpoints.c.digest.in_(select(nodes.c.state_digest).where(run))
    )
    logical = (
        select(func.sum(checkpoints.c.logical_bytes))
        .join(nodes, nodes.c.state_digest == checkpoints.c.digest)
        .where(run)
    )
    return [_once(stored, "stored"), _once(logical, "logical"), _once(best, "best_id")]


def _once(query: Select[Any], name: str) -> Any:
    return query.correlate(None).scalar_subquery().label(name)


def _gathered(rows: Any, limit: int) -> TreeNodes:
    if not rows:
        return TreeNodes()
    lines = [_summary(row._mapping) for row in rows]
    flags = [(row.in_page, row.is_above, row.is_marked) for row in rows]
    page = [line for line, flag in zip(lines, flags, strict=True) if flag[0]]
    sums = rows[0]._mapping
    return TreeNodes(
        by_id={line.id: line for line in lines},
        page=tuple(page[:limit]),
        above=tuple(line for line, flag in zip(lines, flags, strict=True) if flag[1]),
        marks=tuple(line for line, flag in zip(lines, flags, strict=True) if flag[2]),
        count=sums["count"],
        shown=sums["shown"],
        newer=sums.get("newer", 0),
        older=page[limit - 1].seq if limit and len(page) > limit else None,
        previous=sums.get("previous"),
        stored_bytes=int(sums.get("stored") or 0),
        logical_bytes=int(sums.get("logical") or 0),
        best_id=sums.get("best_id"),
    )


def _summary(values: Any) -> NodeSummary:
    fields = {name: values[name] for name in NodeSummary.__annotations__}
    fields["changes"] = tuple(Change(**change) for change in fields["changes"])
    fields["metrics"] = fields["metrics"] or {}
    return NodeSummary(**fields)
