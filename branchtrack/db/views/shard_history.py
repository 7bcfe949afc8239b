"""Which shards a branch has drawn from, from the root of its run on."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import NamedTuple

from sqlalchemy import Connection, literal, select

from branchtrack.core.records import Node
from branchtrack.core.shards.composition import SETTING
from branchtrack.db import nodes as node_rows
from branchtrack.db.tables import nodes


class Stretch(NamedTuple):
    """The value of the shards' setting from the node at ``step`` on; None if there was none."""

    step: int
    node: str
    value: str | None


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


def drawn(connection: Connection, node: Node) -> dict[str, int]:
    """Return how many samples of each shard were trained on up to a node, by `Shard.key`."""
    manifest = node_rows.checkpoint(connection, node.state_digest, need="record").manifest
    state = manifest["state"]
    for name in ("loop", "data", "settings", "drawn"):
        state = state.get(name) if isinstance(state, Mapping) else None
    return {str(key): int(count) for key, count in (state or {}).items()}
