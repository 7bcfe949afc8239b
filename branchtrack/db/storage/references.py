"""Which tensors checkpoints need: what is left of each decides how much of its manifest counts.

Trees have many thousands of checkpoints, so digests are searched in a manifest's text; JSON is
parsed only where the names of tensors matter. A text in a state that looks like an entry counts as
one: that keeps too much, never too little.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Row, select

from branchtrack.db.tables import checkpoints, nodes

RECIPE, WEIGHTS = "recipe", "weights"
#: The role of the tensors that are left of a checkpoint thinned to ``weights``.
MODEL = "model/"
_ENTRY = re.compile(r'"([0-9a-f]{64})"\]')
#: SQLite takes 32,766 parameters in a statement.
_CHUNK = 2000
_STORED = select(checkpoints.c.digest, checkpoints.c.thinned, checkpoints.c.manifest)


@dataclass(frozen=True)
class Reference:
    """The digests of the tensors that a checkpoint needs; empty if only its recipe is left."""

    checkpoint: str
    thinned: str | None
    tensors: list[str]


def states(connection: Connection) -> dict[str, str | None]:
    """Return what is left of every checkpoint (``recipe``, ``weights``, None: all), by digest."""
    query = select(checkpoints.c.digest, checkpoints.c.thinned)
    return {row[0]: row[1] for row in connection.execute(query).all()}


def of_all(connection: Connection, only: Collection[str] | None = None) -> Iterator[Reference]:
    """Yield what each checkpoint needs, or each of those in ``only``."""
    rows: Iterable[Row[str, str | None, bytes]]
    if only is None:
        rows = _all(connection)
    else:
        listed = list(only)
        chunks = (listed[first : first + _CHUNK] for first in range(0, len(listed), _CHUNK))
        of_digests = (_STORED.where(checkpoints.c.digest.in_(chunk)) for chunk in chunks)
        rows = chain.from_iterable(connection.execute(query) for query in of_digests)
    for digest, thinned, manifest in rows:
        yield Reference(digest, thinned, tensors_of(manifest, thinned))


def _all(connection: Connection) -> Iterator[Row[str, str | None, bytes]]:
    """Yield what is recorded of every checkpoint, of which few are in memory at a time."""
    last = ""
    ordered = _STORED.order_by(checkpoints.c.digest).limit(_CHUNK)
    while rows := connection.execute(ordered.where(checkpoints.c.digest > last)).all():
        yield from rows
        last = rows[-1].digest


def losses(
    connection: Connection, planned: Mapping[str, str | None]
) -> Iterator[tuple[Reference, list[str]]]:
    """Yield what each checkpoint will need, and the tensors that those in ``planned`` had.

    ``planned`` says what is to be left of some.
    """
    for digest, recorded, manifest in _all(connection):
        if digest not in planned:
            yield Reference(digest, recorded, tensors_of(manifest, recorded)), []
            continue
        thinned = planned[digest]
        needed = tensors_of(manifest, thinned)
        yield Reference(digest, thinned, needed), tensors_of(manifest, recorded)


def unheld(connection: Connection) -> list[Reference]:
    """Return the checkpoints that no node has, with the tensors that they had when whole."""
    query = _STORED.where(checkpoints.c.digest.not_in(select(nodes.c.state_digest)))
    return [
        Reference(digest, thinned, tensors_of(manifest, None))
        for digest, thinned, manifest in connection.execute(query)
    ]


def of_run(connection: Connection, run_id: str) -> dict[str, str | None]:
    """Return what is left of each checkpoint of a run's nodes, by digest."""
    mine = select(nodes.c.state_digest).where(nodes.c.run_id == run_id)
    query = select(checkpoints.c.digest, checkpoints.c.thinned)
    return {
        row[0]: row[1] for row in connection.execute(query.where(checkpoints.c.digest.in_(mine)))
    }


def tensors_of(manifest: bytes, thinned: str | None) -> list[str]:
    """Return the digests in a compressed manifest that count, given what is left of it."""
    if thinned == RECIPE:
        return []
    text = zlib.decompress(manifest).decode("ascii")
    if thinned == WEIGHTS:
        return [entry[3] for entry in weights(json.loads(text))]
    return _ENTRY.findall(text)


def weights(manifest: Mapping[str, Any]) -> list[list[Any]]:
    """Return the entries (name, dtype, shape, digest) of a manifest's model."""
    return [entry for entry in manifest["tensors"] if entry[0].startswith(MODEL)]


def weights_alone(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return a manifest with the entries of its model alone."""
    left = {**manifest, "tensors": weights(manifest)}
    if "sharded" in left:
        left["sharded"] = [item for item in left["sharded"] if item[0].startswith(MODEL)]
    return left
