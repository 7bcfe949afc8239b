"""How many bytes the record names: of packs, tensors, checkpoints and the nodes that share them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select

from branchtrack.db.tables import branches, checkpoints, nodes, packs, runs, tensors

#: Rows fetched at a time.
_ROWS = 5000


class Holder(NamedTuple):
    """A branch with ``nodes`` of a checkpoint, whose ``logical_bytes`` are of each."""

    run_id: str
    branch_id: str
    checkpoint: str
    nodes: int
    thinned: str | None
    logical_bytes: int


class BranchRow(NamedTuple):
    """A branch and its run, by id and name, with the run's policy, and what is in the trash."""

    run_id: str
    run: str
    retention: dict[str, Any] | None
    is_run_trashed: bool
    branch_id: str
    branch: str
    is_trashed: bool


def branch_rows(connection: Connection) -> list[BranchRow]:
    """Return every branch of every run, newest runs first, branches in their order."""
    query = (
        select(
            runs.c.id,
            runs.c.name,
            runs.c.retention,
            runs.c.trashed_at.is_not(None),
            branches.c.id,
            branches.c.name,
            branches.c.trashed_at.is_not(None),
        )
        .join(branches, branches.c.run_id == runs.c.id)
        .order_by(runs.c.created_at.desc(), runs.c.id, branches.c.position)
    )
    return [BranchRow(*row) for row in connection.execute(query)]


def holders(connection: Connection) -> list[Holder]:
    """Return which branches have nodes of which checkpoints."""
    columns = (nodes.c.run_id, nodes.c.branch_id, nodes.c.state_digest)
    facts = (checkpoints.c.thinned, checkpoints.c.logical_bytes)
    query = (
        select(*columns, func.count(), *facts)
        .join(checkpoints, checkpoints.c.digest == nodes.c.state_digest)
        .group_by(*columns, *facts)
    )
    return [Holder._make(row) for row in connection.execute(query).all()]


def tensor_sizes(connection: Connection) -> Iterator[tuple[str, str, int]]:
    """Yield (digest, pack, bytes) of every stored tensor."""
    query = select(tensors.c.digest, tensors.c.pack, tensors.c.nbytes)
    # Rows one by one, or as objects, take several times as long.
    for rows in connection.execute(query).partitions(_ROWS):
        yield from rows


def pack_bytes(connection: Connection) -> dict[str, int]:
    """Return the length of each recorded pack, by id, whether tensors are read from it or not."""
    return {row[0]: row[1] for row in connection.execute(select(packs.c.id, packs.c.nbytes))}


def held_elsewhere(connection: Connection, run_id: str, digests: Collection[str]) -> set[str]:
    """Return those of the checkpoints that nodes of other runs have, too."""
    if not digests:
        return set()
    query = select(nodes.c.state_digest).where(nodes.c.run_id != run_id).distinct()
    return set(connection.execute(query).scalars()).intersection(digests)
