"""Which shards a branch has drawn from since the root of its run, and how often."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import Connection, literal, select

from branchtrack.core.records import Branch
from branchtrack.core.shards.composition import SETTING
from branchtrack.db.nodes import damaged_record
from branchtrack.db.tables import checkpoints, nodes, runs


class Stretch(NamedTuple):
    """The value of the shards' setting from the node at ``step`` on; None if there was none."""

    step: int
    node: str
    value: str | None


class Ends(NamedTuple):
    """A branch's run by name, its newest node and where that is, with what was drawn up to there.

    ``drawn`` and ``before`` count samples by `Shard.key`, up to the newest node and to the one that
    the branch began at. Without a node ``step`` is None.
    """

    run: str
    step: int | None
    value: str | None
    drawn: dict[str, int]
    before: dict[str, int]


def stretches(connection: Connection, head_id: str) -> list[Stretch]:
    """Return how the composition changed on the way from the root to a node, oldest first."""
    columns = nodes.c.id, nodes.c.parent_id
    head = select(*columns, literal(0).label("distance")).where(nodes.c.id == head_id)
    line = head.cte("line", recursive=True)
    parents = select(*columns, line.c.distance + 1).join(line, nodes.c.id == line.c.parent_id)
    line = line.union_all(parents)
    query = (
        select(nodes.c.step, nodes.c.id, nodes.c.settings[SETTING].as_string())
        .join(line, nodes.c.id == line.c.id)
        .order_by(line.c.distance.desc())
    )
    rows = [Stretch(*row) for row in connection.execute(query)]
    return [next(same) for _value, same in groupby(rows, key=lambda row: row.value)]


def ends(connection: Connection, branch: Branch) -> Ends:
    """Return what was drawn up to the newest node of a branch, and up to where it began.

    Raises:
        CheckpointDamaged: the record of one of their states cannot be read.
    """
    ids = [node_id for node_id in (branch.head_id, branch.start_node_id) if node_id is not None]
    query = (
        select(runs.c.name, nodes.c.id, nodes.c.step, nodes.c.settings, checkpoints)
        .select_from(runs)
        .outerjoin(nodes, (nodes.c.run_id == runs.c.id) & nodes.c.id.in_(ids))
        .outerjoin(checkpoints, checkpoints.c.digest == nodes.c.state_digest)
        .where(runs.c.id == branch.run_id)
    )
    rows = {row.id: row for row in connection.execute(query)}
    run = next(iter(rows.values())).name
    head = rows.get(branch.head_id)
    if head is None or branch.head_id is None:
        return Ends(run, None, None, {}, {})
    start = rows.get(branch.start_node_id) if branch.start_node_id is not None else None
    before = {} if start is None else _drawn(start)
    return Ends(run, head.step, head.settings.get(SETTING), _drawn(head), before)


def _drawn(row: Any) -> dict[str, int]:
    """Return the counts in the state of a checkpoint; none if it keeps no counts."""
    try:
        state = json.loads(zlib.decompress(row.manifest))["state"]
    except (zlib.error, ValueError, LookupError) as error:
        raise damaged_record(row.digest, f"its manifest cannot be read: {error}") from error
    for name in ("loop", "data", "settings", "drawn"):
        state = state.get(name) if isinstance(state, Mapping) else None
    return {str(key): int(count) for key, count in (state or {}).items()}
