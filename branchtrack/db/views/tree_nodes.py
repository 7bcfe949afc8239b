"""The nodes that a page of a tree shows, in one statement: a page of its log, the heads of its
branches, those worth a mark on the timeline, and a few sums over all.

Only reads. It must not know what a page looks like.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    Select,
    case,
    false,
    func,
    literal,
    null,
    or_,
    select,
    true,
    union,
)

from branchtrack.core.records import Change, Node
from branchtrack.db.deletion import visibility
from branchtrack.db.tables import checkpoints, nodes
from branchtrack.db.views import tree_log
from branchtrack.db.views.tree_log import ALL, Log
from branchtrack.db.views.tree_outline import NodeSummary

#: Columns that are read only for nodes shown in detail.
_BULK = ("metrics", "effective", "compared")
#: Columns that are read only for whole records.
_WHOLE = tuple(name for name in Node.__annotations__ if name not in NodeSummary.__annotations__)
_ROW = ("position", "first", "size", "low", "high")


@dataclass(frozen=True)
class Thinning:
    """Which nodes are worth a mark: every change, fork and end, and of plain checkpoints between
    the steps ``low`` and ``high`` one in each of ``buckets`` stretches of a branch."""

    low: int
    high: int
    buckets: int


@dataclass(frozen=True)
class LogRow:
    """A row of the log: a node, or ``size`` plain checkpoints of which ``node`` is the newest.

    ``parent_id`` is the parent of the oldest, ``first_id``; ``low`` and ``high`` are their steps.
    """

    node: NodeSummary
    first_id: str
    parent_id: str | None
    size: int
    low: int
    high: int


@dataclass(frozen=True)
class TreeNodes:
    """The nodes read for a page of a tree.

    ``page`` holds rows of the log, newest first; ``above`` the newer rows whose parents are not
    above the page; ``marks`` nodes worth a mark, newest first, without metrics. ``shown`` counts
    the rows of all pages, ``newer`` those of them before this page; ``older`` and ``previous`` are
    the ``before`` of the pages after and before it.
    """

    by_id: Mapping[str, NodeSummary] = field(default_factory=dict)
    page: tuple[LogRow, ...] = ()
    above: tuple[LogRow, ...] = ()
    marks: tuple[NodeSummary, ...] = ()
    count: int = 0
    shown: int = 0
    newer: int = 0
    older: int | None = None
    previous: int | None = None
    stored_bytes: int = 0
    logical_bytes: int = 0


def read(
    connection: Connection,
    run_id: str,
    *,
    ids: Iterable[str] = (),
    log: Log = ALL,
    before: int | None = None,
    limit: int = 0,
    marks: Thinning | None = None,
    sums: bool = False,
) -> TreeNodes:
    """Return a page of at most ``limit`` rows of the log, and the nodes in ``ids``.

    The page has the rows whose newest node has ``seq < before``. Marks are those of the log's
    branches. With ``sums`` the bytes of all checkpoints are added up.
    """
    run = visibility.nodes_of(run_id)
    listed = tree_log.condition(run, log)
    rows = tree_log.rows(run_id, listed, log)
    earlier = true() if before is None else rows.c.position < before
    page = select(rows).where(earlier).order_by(rows.c.position.desc()).limit(limit + 1).cte("page")
    wide = [page] if limit else []
    above = None if before is None or not limit else _above(rows, before)
    wide += [] if above is None else [above]
    firsts = [select(nodes.c.id).where(nodes.c.seq.in_(select(part.c.first))) for part in wide]
    newest = [select(nodes.c.id).where(nodes.c.seq.in_(select(part.c.position))) for part in wide]
    parents = [
        select(nodes.c.parent_id).where(nodes.c.seq.in_(select(part.c.first))) for part in wide
    ]
    named = select(nodes.c.id).where(nodes.c.id.in_(list(ids)))
    whole = _table("whole", union(named, *newest[:1], *parents[:1]))
    # Each is a table of its own for the statement: it is computed once, however often it is named.
    marked = None if marks is None else _table("marked", _marked(run, log, marks))
    chosen = union(whole, *firsts, *newest, *parents, *([] if marked is None else [marked]))
    query = (
        _summaries(nodes.c.id.in_(whole))
        .add_columns(
            _is_in(marked).label("is_marked"),
            *(_row_of(page, "page") if limit else ()),
            *(_row_of(above, "above") if above is not None else ()),
            *_counts(run, rows if limit else None, before, limit),
            *(_sums(run) if sums else ()),
        )
        # By their keys: a scan would read the settings of every node of the run.
        .where(nodes.c.id.in_(chosen))
        .order_by(nodes.c.seq.desc())
    )
    for part in wide:
        query = query.outerjoin(part, part.c.position == nodes.c.seq)
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
    what changed something or began a branch, the root, and those that were named. ``heads`` are
    these nodes with everything that is recorded of them, if that was asked for.
    """

    by_id: Mapping[str, NodeSummary]
    lines: Mapping[str, Sequence[tuple[int, NodeSummary]]]
    heads: Mapping[str, Node] = field(default_factory=dict)


def lineage(
    connection: Connection,
    heads: Iterable[str],
    *,
    ids: Iterable[str] = (),
    children_of: str | None = None,
    whole: bool = False,
) -> Lineage:
    """Return the ways up from ``heads``, the nodes named in ``ids``, and the children of one.

    Metrics and values read back are present only for the named ones and the children. With
    ``whole`` the heads, which ``ids`` then names too, come as whole records as well.
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
    worth = or_(line.c.distance <= 1, nodes.c.parent_id.is_(None), tree_log.is_plain() == 0)
    notable = select(nodes.c.id).join(line, line.c.id == nodes.c.id).where(worth)
    query = (
        _summaries(nodes.c.id.in_(named))
        .add_columns(line.c.head, line.c.distance)
        .outerjoin(line, line.c.id == nodes.c.id)
        .where(nodes.c.id.in_(union(named, notable)))
        .order_by(nodes.c.seq.desc())
    )
    if whole:
        is_head = nodes.c.id.in_(list(heads))
        query = query.add_columns(*(case((is_head, nodes.c[x])).label(x) for x in _WHOLE))
    by_id: dict[str, NodeSummary] = {}
    lines: dict[str, list[tuple[int, NodeSummary]]] = {}
    whole_heads: dict[str, Node] = {}
    for row in connection.execute(query):
        node = by_id.get(row.id) or by_id.setdefault(row.id, _summary(row._mapping))
        if row.head is not None:
            lines.setdefault(row.head, []).append((row.distance, node))
        if whole and row.distance == 0:
            whole_heads[row.id] = _node(row._mapping, node)
    ordered = {head: sorted(line, key=lambda pair: pair[0]) for head, line in lines.items()}
    return Lineage(by_id, ordered, whole_heads)


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


def _above(rows: CTE, before: int) -> CTE:
    """Return the rows of earlier pages whose parents are on this page or a later one."""
    first, parent = nodes.alias("first_nodes"), nodes.alias("parents")
    query = (
        select(rows)
        .join(first, first.c.seq == rows.c.first)
        .join(parent, parent.c.id == first.c.parent_id)
        .where(rows.c.position >= before, parent.c.seq < before)
    )
    return query.cte("above")


def _row_of(part: CTE, name: str) -> list[Any]:
    """Return the columns that say of which row of the log a node is the newest."""
    return [part.c[column].label(f"{name}_{column}") for column in _ROW]


def _is_in(ids: Select[Any] | None) -> ColumnElement[bool]:
    return false() if ids is None else nodes.c.id.in_(ids)


def _marked(run: ColumnElement[bool], log: Log, marks: Thinning) -> Select[Any]:
    plain = tree_log.is_plain()
    span = max(1, marks.high - marks.low)
    bucket = (nodes.c.step - marks.low) * marks.buckets // span
    nth = func.row_number().over(
        partition_by=(nodes.c.branch_id, bucket, plain), order_by=nodes.c.seq
    )
    inside = (nodes.c.step >= marks.low, nodes.c.step <= marks.high)
    ranked = select(nodes.c.id, nth.label("nth"), plain.label("plain"))
    few = ranked.where(tree_log.of_branches(run, log), *inside).subquery()
    return select(few.c.id).where(or_(few.c.nth == 1, few.c.plain == 0))


def _counts(
    run: ColumnElement[bool], rows: CTE | None, before: int | None, limit: int
) -> list[Any]:
    """Return the page's position among all rows, computed once and returned with every node."""
    count = select(func.count()).select_from(nodes).where(run)
    counts: dict[str, Select[Any]] = {"count": count}
    if rows is not None:
        counts["shown"] = select(func.count()).select_from(rows)
    if rows is not None and before is not None:
        newer = rows.c.position >= before
        counts["newer"] = select(func.count()).select_from(rows).where(newer)
        previous = select(rows.c.position).where(newer).order_by(rows.c.position)
        counts["previous"] = previous.limit(1).offset(limit)
    return [_once(query, name) for name, query in counts.items()]


def _sums(run: ColumnElement[bool]) -> list[Any]:
    """Return the bytes of all checkpoints, each stored one counted once."""
    stored = select(func.sum(checkpoints.c.stored_bytes)).where(
        checkpoints.c.digest.in_(select(nodes.c.state_digest).where(run))
    )
    logical = (
        select(func.sum(checkpoints.c.logical_bytes))
        .join(nodes, nodes.c.state_digest == checkpoints.c.digest)
        .where(run)
    )
    return [_once(stored, "stored"), _once(logical, "logical")]


def _once(query: Select[Any], name: str) -> Any:
    return query.correlate(None).scalar_subquery().label(name)


def _gathered(read_rows: Sequence[Any], limit: int) -> TreeNodes:
    if not read_rows:
        return TreeNodes()
    columns = [row._mapping for row in read_rows]
    by_seq = {values["seq"]: _summary(values) for values in columns}
    page = _log_rows(columns, by_seq, "page")
    totals = columns[0]
    return TreeNodes(
        by_id={node.id: node for node in by_seq.values()},
        page=tuple(page[:limit]),
        above=tuple(_log_rows(columns, by_seq, "above")),
        marks=tuple(by_seq[values["seq"]] for values in columns if values["is_marked"]),
        count=totals["count"],
        shown=totals.get("shown", totals["count"]),
        newer=totals.get("newer", 0),
        older=page[limit - 1].node.seq if limit and len(page) > limit else None,
        previous=totals.get("previous"),
        stored_bytes=int(totals.get("stored") or 0),
        logical_bytes=int(totals.get("logical") or 0),
    )


def _log_rows(columns: Sequence[Any], by_seq: Mapping[int, NodeSummary], part: str) -> list[LogRow]:
    rows = []
    for values in columns:
        if values.get(f"{part}_position") is not None:
            _, first, size, low, high = (values[f"{part}_{name}"] for name in _ROW)
            oldest = by_seq[first]
            rows.append(LogRow(by_seq[values["seq"]], oldest.id, oldest.parent_id, size, low, high))
    return rows


def _summary(values: Any) -> NodeSummary:
    fields = {name: values[name] for name in NodeSummary.__annotations__}
    fields["changes"] = tuple(Change(**change) for change in fields["changes"])
    fields["metrics"] = fields["metrics"] or {}
    return NodeSummary(**fields)


def _node(values: Any, summary: NodeSummary) -> Node:
    fields = {name: values[name] for name in Node.__annotations__}
    return Node(**{**fields, "changes": summary.changes})
