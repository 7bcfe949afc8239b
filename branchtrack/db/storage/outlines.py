"""What a checkpoint consists of, without the place of each tensor: few statements for any size."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from branchtrack.db import nodes, seals
from branchtrack.db.storage import references
from branchtrack.db.tables import checkpoints, packs, tensors
from branchtrack.errors import CheckpointMissing

#: SQLite takes 32,766 parameters in a statement.
_CHUNK = 2000


@dataclass(frozen=True)
class CheckpointOutline:
    """The names of a checkpoint's tensors, and the recorded bytes of each pack by its id."""

    names: list[str]
    packs: dict[str, int]


def checkpoint_outline(
    connection: Connection, digest: str, need: str, *, rebuild: bool = False
) -> CheckpointOutline:
    """Return the outline of the checkpoint with that state digest, its record proved by its seal.

    ``need`` as for `nodes.checkpoint`: of a thinned one only the ``weights`` may be left. With
    ``rebuild`` one whose recipe is left has no packs.

    Raises:
        CheckpointMissing: it is not recorded. CheckpointDamaged: its record is.
        CheckpointThinned: less is left than is needed.
    """
    row = next(seals.raw(connection, checkpoints, digest), None)
    if row is None:
        raise CheckpointMissing(
            f"The checkpoint {digest[:12]} is not in the database.",
            fix="Resume from another node.",
            path=digest,
        )
    if seals.stored(connection, checkpoints, digest) != seals.of_row(checkpoints, row):
        raise nodes.damaged_record(digest, "it is not as it was written")
    nodes.check_left(connection, digest, need, rebuild=rebuild)
    try:
        manifest = json.loads(zlib.decompress(row["manifest"]))
        is_part = row["thinned"] and need == "weights"
        listed = references.weights(manifest) if is_part else manifest["tensors"]
        digests = sorted({tensor for _name, _dtype, _shape, tensor in listed})
        names = [name for name, _dtype, _shape, _tensor in listed]
    except (zlib.error, ValueError, TypeError, LookupError) as error:
        raise nodes.damaged_record(digest, f"its manifest cannot be read: {error}") from error
    if row["thinned"] == references.RECIPE:
        return CheckpointOutline(names, {})
    return CheckpointOutline(names, _packs(connection, digest, digests))


def _packs(connection: Connection, digest: str, digests: list[str]) -> dict[str, int]:
    """Return the packs that hold all of these tensors, with their bytes."""
    sizes: dict[str, int] = {}
    located = 0
    for start in range(0, len(digests), _CHUNK):
        query = (
            select(packs.c.id, packs.c.nbytes, func.count().label("tensors"))
            .join(tensors, tensors.c.pack == packs.c.id)
            .where(tensors.c.digest.in_(digests[start : start + _CHUNK]))
            .group_by(packs.c.id, packs.c.nbytes)
        )
        for row in connection.execute(query):
            sizes[row.id] = row.nbytes
            located += row.tensors
    if missing := len(digests) - located:
        why = f"the location of {missing} of its tensors is not recorded"
        raise nodes.damaged_record(digest, why)
    return sizes
