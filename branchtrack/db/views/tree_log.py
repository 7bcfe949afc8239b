"""The rows of a tree's log: every node that matters, and stretches of plain checkpoints as one row.

It builds parts of the statement in `tree_nodes`. It must not know what a page looks like.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import CTE, ColumnElement, Select, Text, and_, case, cast, func, or_, select

from branchtrack.db.tables import branches, nodes, segments

#: Fewer plain checkpoints in a row than this stay rows of their own.
LEAST = 3


@dataclass(frozen=True)
class Log:
    """Which rows a log has.

    ``branch_ids``, visible ones of the run, narrow it. Without ``is_folded`` every node has its
    own row, and so have the nodes of the stretches that begin with one of ``opened``. ``search`` is
    a part of a message, of the name of a changed setting, of a tag or kind, or the beginning of an
    id.
    """

    branch_ids: Collection[str] = ()
    is_folded: bool = False
    opened: Collection[str] = ()
    search: str = ""


#: Every node in a row of its own.
ALL = Log()


def condition(run: ColumnElement[bool], log: Log) -> ColumnElement[bool]:
    """Return the condition for the nodes that are in some row."""
    listed = [of_branches(run, log)]
    if log.search:
        columns = (nodes.c.message, cast(nodes.c.changes, Text), cast(nodes.c.tags, Text))
        wanted = [column.icontains(log.search, autoescape=True) for column in columns]
        wanted.append(nodes.c.id.startswith(log.search, autoescape=True))
        wanted.append(nodes.c.kind == log.search)
        named = select(branches.c.id).where(branches.c.name.icontains(log.search, autoescape=True))
        listed.append(or_(*wanted, nodes.c.branch_id.in_(named)))
    return and_(*listed)


def of_branches(run: ColumnElement[bool], log: Log) -> ColumnElement[bool]:
    """Return the condition for the nodes of the log's branches; without any, those of the run.

    With the run's condition beside it, SQLite would go through all nodes of the run.
    """
    return nodes.c.branch_id.in_(log.branch_ids) if log.branch_ids else run


def rows(run_id: str, listed: ColumnElement[bool], log: Log) -> CTE:
    """Return the rows: ``position`` and ``first`` (`seq` of the newest and oldest node), their
    number ``size``, and the steps ``low`` to ``high``."""
    if not log.is_folded or log.search:
        seq, step = nodes.c.seq, nodes.c.step
        single = select(
            seq.label("position"),
            seq.label("first"),
            _one().label("size"),
            step.label("low"),
            step.label("high"),
        )
        return single.where(listed).cte("log")
    islands = _islands(run_id, listed, log).subquery()
    size = func.count().over(partition_by=(islands.c.branch_id, islands.c.island, islands.c.plain))
    sized = select(islands, size.label("size")).subquery()
    # Too few to fold: each its own group again.
    apart = case((sized.c.size < LEAST, sized.c.seq), else_=0)
    query = select(
        func.max(sized.c.seq).label("position"),
        func.min(sized.c.seq).label("first"),
        func.count().label("size"),
        func.min(sized.c.step).label("low"),
        func.max(sized.c.step).label("high"),
    ).group_by(sized.c.branch_id, sized.c.island, sized.c.plain, apart)
    return query.cte("log")


def is_plain() -> ColumnElement[int]:
    """Return 1 for checkpoints that change nothing, and 0 for all other nodes."""
    changed = cast(nodes.c.changes, Text) != "[]"
    return case((or_(nodes.c.kind != "checkpoint", changed), 0), else_=1)


def _islands(run_id: str, listed: ColumnElement[bool], log: Log) -> Select[tuple[object, ...]]:
    """Return the nodes, each with the number of the stretch of its branch that it is in."""
    starts = select(segments.c.start_node_id).where(
        segments.c.run_id == run_id, segments.c.start_node_id.is_not(None)
    )
    heads = select(branches.c.head_id).where(
        branches.c.run_id == run_id, branches.c.head_id.is_not(None)
    )
    matters = or_(
        is_plain() == 0,
        nodes.c.pinned_at.is_not(None),
        nodes.c.id.in_(starts),
        nodes.c.id.in_(heads),
    )
    plain = case((matters, 0), else_=1)
    marked = (
        select(nodes.c.id, nodes.c.seq, nodes.c.branch_id, nodes.c.step, plain.label("plain"))
        .where(listed)
        .subquery()
    )
    island = func.sum(1 - marked.c.plain).over(
        partition_by=marked.c.branch_id, order_by=marked.c.seq
    )
    numbered = select(marked, island.label("island")).subquery()
    if not log.opened:
        return select(numbered)
    first = func.first_value(numbered.c.id).over(
        partition_by=(numbered.c.branch_id, numbered.c.island, numbered.c.plain),
        order_by=numbered.c.seq,
    )
    known = select(numbered, first.label("first_id")).subquery()
    # An opened stretch falls into stretches of one node each.
    apart = case((known.c.first_id.in_(list(log.opened)), -known.c.seq), else_=known.c.island)
    kept = [column for column in known.c if column.name not in ("island", "first_id")]
    return select(*kept, apart.label("island"))


def _one() -> ColumnElement[int]:
    return case((nodes.c.seq.is_(None), 0), else_=1)
