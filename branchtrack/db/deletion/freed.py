"""The stored bytes that nothing needs once some branches are purged."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection

from branchtrack.db.storage import references, sizes


def freed_bytes(connection: Connection, branch_ids: Collection[str]) -> int:
    """Return the bytes of tensors that only nodes of these branches need."""
    doomed, held = set[str](), set[str]()
    for holder in sizes.holders(connection):
        (doomed if holder.branch_id in branch_ids else held).add(holder.checkpoint)
    needed, given_up = set[str](), set[str]()
    for reference in references.of_all(connection):
        if reference.checkpoint in held:
            needed.update(reference.tensors)
        elif reference.checkpoint in doomed:
            given_up.update(reference.tensors)
    unneeded = given_up - needed
    stored = sizes.tensor_sizes(connection) if unneeded else ()
    return sum(nbytes for digest, _pack, nbytes in stored if digest in unneeded)
