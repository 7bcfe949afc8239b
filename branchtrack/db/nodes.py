"""Nodes and their checkpoints: committed in one transaction, found by id, and listed."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, Select, Text, cast, literal, select

from branchtrack.core.names import new_id
from branchtrack.core.records import (
    Change,
    NewNode,
    Node,
    StoredCheckpoint,
    TensorLocation,
    WrittenPack,
)
from branchtrack.db import audit, runs, seals
from branchtrack.db.deletion import visibility
from branchtrack.db.engine import upsert
from branchtrack.db.storage import packs, references
from branchtrack.db.tables import branches, checkpoints, nodes, segments, tensors
from branchtrack.errors import (
    Ambiguous,
    CheckpointDamaged,
    CheckpointError,
    CheckpointMissing,
    CheckpointThinned,
    NeverWhole,
    NotFound,
)

#: SQLite takes 32,766 parameters in a statement; PostgreSQL takes 65,535.
_CHUNK = 2000
#: Of a step in a reference; columns of steps hold 64 bits.
_MOST_DIGITS = 18


def packs_of(connection: Connection, digests: Iterable[str]) -> dict[str, str]:
    """Return the pack of each of ``digests`` whose tensor is recorded as stored, by digest."""
    unique = list(dict.fromkeys(digests))
    pack_ids: dict[str, str] = {}
    for start in range(0, len(unique), _CHUNK):
        chunk = unique[start : start + _CHUNK]
        query = select(tensors.c.digest, tensors.c.pack).where(tensors.c.digest.in_(chunk))
        pack_ids.update((row.digest, row.pack) for row in connection.execute(query))
    return pack_ids


def add_checkpoint(
    connection: Connection,
    digest: str,
    manifest: dict[str, Any],
    *,
    tensor_count: int,
    logical_bytes: int,
    pack: tuple[str, int] | None,
    locations: Sequence[TensorLocation],
    others: Sequence[WrittenPack] = (),
    gone: Collection[str] = (),
    left: str | None = None,
) -> bool:
    """Record a durable checkpoint: its manifest, and its pack (id, bytes) with its contents.

    ``others`` are packs that other ranks wrote for it. ``gone``: packs whose files no longer exist.
    Returns whether the pack is named, see `packs.add`. One that was thinned is whole again.
    ``left``: the state never had more than its ``weights``.
    """
    is_named = pack is not None and packs.add(connection, pack, locations, gone)
    nbytes = pack[1] if pack and is_named else 0
    for other in others:
        if packs.add(connection, (other.id, other.nbytes), other.locations, gone):
            nbytes += other.nbytes
    blob = zlib.compress(json.dumps(manifest, separators=(",", ":"), allow_nan=False).encode(), 1)
    row = {
        "digest": digest,
        "manifest": blob,
        "tensors": tensor_count,
        "logical_bytes": logical_bytes,
        "stored_bytes": nbytes,
        "thinned": left,
        "created_at": time.time(),
    }
    insert = upsert(connection, checkpoints).values(**row)
    restored = {name: insert.excluded[name] for name in row if name not in ("digest", "created_at")}
    connection.execute(
        insert.on_conflict_do_update(
            index_elements=["digest"], set_=restored, where=checkpoints.c.thinned.is_not(None)
        )
    )
    seals.renew(connection, checkpoints, digest)
    return is_named


def commit(connection: Connection, new: NewNode) -> Node:
    """Add a node to the tree and make it its branch's head. Its checkpoint must be recorded."""
    audit.lock(connection, new.run_id)
    node_id = new_id()
    row = {
        **asdict(new),
        "id": node_id,
        "changes": [change.as_dict() for change in new.changes],
        "created_at": time.time(),
    }
    written = seals.write_row(connection, nodes, nodes.insert().values(**row), node_id)
    assert written is not None
    # A process that was taken for gone must not move the head of a branch that has continued.
    connection.execute(
        branches.update()
        .where(branches.c.id == new.branch_id, branches.c.segment_id == new.segment_id)
        .values(head_id=node_id)
    )
    connection.execute(
        segments.update()
        .where(segments.c.id == new.segment_id, segments.c.step < new.step)
        .values(step=new.step)
    )
    seals.renew(connection, branches, new.branch_id)
    seals.renew(connection, segments, new.segment_id)
    audit.append(
        connection,
        new.run_id,
        kind="node",
        ref=node_id,
        state=new.kind,
        actor=new.actor,
        step=new.step,
        reason=new.message,
        payload={"changes": row["changes"], **written[1]},
    )
    return _node(written[0])


def set_effective(
    connection: Connection,
    node_id: str,
    effective: dict[str, Any],
    restored: dict[str, str] | None = None,
) -> None:
    """Record what was read back at the first update after ``node_id``."""
    values: dict[str, Any] = {"effective": effective}
    if restored is not None:
        values["restored"] = restored
    connection.execute(nodes.update().where(nodes.c.id == node_id).values(**values))
    seals.renew(connection, nodes, node_id)


def set_proof(connection: Connection, node_id: str, proof: dict[str, Any]) -> None:
    """Record the content of the first update after ``node_id``, unless that was done before."""
    first = nodes.update().where(nodes.c.id == node_id, nodes.c.proof.is_(None))
    connection.execute(first.values(proof=proof))
    seals.renew(connection, nodes, node_id)


def set_compared(connection: Connection, node_id: str, compared: dict[str, Any]) -> None:
    """Record how the first update of a resume compares with the node's own continuation."""
    connection.execute(nodes.update().where(nodes.c.id == node_id).values(compared=compared))
    seals.renew(connection, nodes, node_id)


def get(connection: Connection, node_id: str) -> Node:
    """Return the node with exactly that id."""
    row = connection.execute(select(nodes).where(nodes.c.id == node_id)).first()
    if row is None:
        raise NotFound("node", node_id)
    return record(row)


def find(connection: Connection, ref: str) -> Node:
    """Return the node whose id starts with ``ref``, or the head of the branch that ``ref`` names.

    ``BRANCH@STEP`` is the newest node at that step on the way from the root to the branch's head.

    Raises:
        NotFound: none. Ambiguous: several.
    """
    node = named(connection, ref)
    if node is not None:
        return node
    try:
        branch = runs.find_branch(connection, ref)
    except Ambiguous:
        raise
    except NotFound as error:
        if error.facts.get("trashed"):
            raise
        refuse_trashed(connection, ref)
        # Only RUN/BRANCH or the whole name of a run stands for a node.
        close = error.facts["near"] if error.facts["kind"] == "branch" else ()
        listed = "`branchtrack tree RUN` lists the nodes of a run."
        meant = f"Did you mean: {', '.join(close)}? " if close else ""
        raise NotFound("node", ref, close, fix=meant + listed) from error
    if branch.head_id is None:
        raise NotFound("node", ref, fix="That branch has no node yet.")
    return get(connection, branch.head_id)


def by_ids(connection: Connection, node_ids: Collection[str]) -> dict[str, Node]:
    """Return the nodes with exactly these ids, by id; those that were purged are left out."""
    rows = connection.execute(select(nodes).where(nodes.c.id.in_(list(node_ids))))
    return {row.id: record(row) for row in rows}


def check_listed(connection: Connection, node_ids: Collection[str]) -> None:
    """Refuse nodes that are in the trash: nothing may grow from them.

    Raises:
        NotFound: names one, and what brings it back.
    """
    listed = select(nodes.c.id).where(nodes.c.id.in_(node_ids), visibility.nodes_of_any())
    for node_id in sorted(set(node_ids).difference(connection.execute(listed).scalars())):
        refuse_trashed(connection, node_id)
        raise NotFound("node", node_id)


def refuse_trashed(connection: Connection, ref: str) -> None:
    """Say so if a node of that id is in the trash.

    Raises:
        NotFound: it is, and what brings it back. Ambiguous: the ids of several begin so.
    """
    row = runs.one_by_prefix(connection, select(nodes), nodes.c.id, "node", ref)
    if row is not None:
        run = runs.get_run(connection, row.run_id)
        branch = runs.get_branch(connection, row.branch_id)
        raise runs.trashed_error(
            "node", ref, run.name if run.trashed_at else f"{run.name}/{branch.name}"
        )


def _at_step(connection: Connection, branch_ref: str, text: str) -> Node:
    """Return the newest node of a branch at a step, those that it inherits included."""
    branch, ref = runs.find_branch(connection, branch_ref), f"{branch_ref}@{text}"
    digits = text.replace(",", "")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > _MOST_DIGITS:
        raise NotFound("node", ref, fix="Write RUN@STEP or RUN/BRANCH@STEP, as in demo@200.")
    step = int(digits)
    line = _line(connection, branch.head_id, step)
    if line and line[-1].step == step:
        # The nearest to the head of those at that step.
        return get(connection, next(row.id for row in line if row.step == step))
    whole = {row.step: row.id for row in reversed(_line(connection, branch.head_id, 0))}
    below = [(f"{branch_ref}@{near}", node) for near, node in whole.items() if near < step][-2:]
    above = [(f"{branch_ref}@{near}", node) for near, node in whole.items() if near > step][:2]
    nearest = ", ".join(f"{name} ({node[:8]})" for name, node in below + above)
    fix = f"The nearest are {nearest}." if nearest else "That branch has no node yet."
    raise NotFound("node", ref, [name for name, _node in below + above], fix=fix)


def _line(connection: Connection, head_id: str | None, step: int) -> list[Row[Any]]:
    """Return (id, step) of the nodes from a head up to ``step``, the newest first."""
    columns = nodes.c.id, nodes.c.parent_id, nodes.c.step
    head = select(*columns, literal(0).label("distance")).where(
        nodes.c.id == head_id, nodes.c.step >= step
    )
    line = head.cte("line", recursive=True)
    parents = select(*columns, line.c.distance + 1).join(line, nodes.c.id == line.c.parent_id)
    line = line.union_all(parents.where(nodes.c.step >= step))
    return list(connection.execute(select(line.c.id, line.c.step).order_by(line.c.distance)))


def named(connection: Connection, ref: str) -> Node | None:
    """Return the node that ``ref`` names by its id or as ``BRANCH@STEP``, if it is such a name.

    Raises:
        NotFound: the branch has no node at that step. Ambiguous: several have that id.
    """
    branch_ref, at, step = ref.rpartition("@")
    return _at_step(connection, branch_ref, step) if at else by_prefix(connection, ref)


def by_prefix(connection: Connection, ref: str) -> Node | None:
    """Return the node whose id starts with ``ref`` (four characters or more), if there is one.

    Raises:
        Ambiguous: several.
    """
    query = select(nodes).where(visibility.nodes_of_any())
    row = runs.one_by_prefix(connection, query, nodes.c.id, "node", ref)
    return None if row is None else record(row)


def list_of_run(
    connection: Connection, run_id: str, *, before: int | None = None, limit: int | None = None
) -> list[Node]:
    """Return the run's nodes, newest first, starting with ``seq < before``."""
    query = select(nodes).where(visibility.nodes_of(run_id)).order_by(nodes.c.seq.desc())
    if before is not None:
        query = query.where(nodes.c.seq < before)
    if limit is not None:
        query = query.limit(limit)
    return [record(row) for row in connection.execute(query)]


def changed_of_run(
    connection: Connection, run_id: str, kinds: Collection[str], without: Select[tuple[str]]
) -> list[Node]:
    """Return the run's nodes of these kinds that changed something, oldest first.

    ``without`` is the query for the ids of nodes that are left out.
    """
    query = (
        select(nodes)
        .where(visibility.nodes_of(run_id), nodes.c.kind.in_(kinds))
        .where(cast(nodes.c.changes, Text) != "[]", nodes.c.id.not_in(without))
        .order_by(nodes.c.seq)
    )
    return [record(row) for row in connection.execute(query)]


def of_segment(connection: Connection, segment_id: str) -> list[Node]:
    """Return the nodes that one process created, its fork node included, oldest first."""
    query = select(nodes).where(nodes.c.segment_id == segment_id).order_by(nodes.c.seq)
    return [record(row) for row in connection.execute(query)]


def of_branch(connection: Connection, branch_id: str) -> list[Node]:
    """Return a branch's nodes, oldest first."""
    query = select(nodes).where(nodes.c.branch_id == branch_id).order_by(nodes.c.seq)
    return [record(row) for row in connection.execute(query)]


def last_effective(connection: Connection, branch_id: str) -> dict[str, Any]:
    """Return what the newest read-back update of a branch used; empty if there was none yet."""
    query = (
        select(nodes.c.effective)
        # A missing value is the JSON null.
        .where(nodes.c.branch_id == branch_id, cast(nodes.c.effective, Text) != "null")
        .order_by(nodes.c.seq.desc())
        .limit(1)
    )
    return connection.execute(query).scalar() or {}


def list_ids(connection: Connection) -> list[str]:
    """Return the id of every node of every run, oldest first."""
    return list(connection.execute(select(nodes.c.id).order_by(nodes.c.seq)).scalars())


def first_at(connection: Connection, node: Node, step: int) -> Node | None:
    """Return the first node at a step on the way from the root to ``node``, itself included."""
    query = select(nodes.c.id, nodes.c.parent_id, nodes.c.step).where(nodes.c.run_id == node.run_id)
    rows = {row.id: row for row in connection.execute(query)}
    first, current = None, rows.get(node.id)
    while current is not None and current.step >= step:
        first = current.id if current.step == step else None
        current = rows.get(current.parent_id or "")
    return None if first is None else get(connection, first)


def children(connection: Connection, node_id: str, *, listed: bool = False) -> list[Node]:
    """Return the nodes created from ``node_id``, oldest first; if ``listed`` none in the trash."""
    query = select(nodes).where(nodes.c.parent_id == node_id).order_by(nodes.c.seq)
    query = query.where(visibility.nodes_of_any()) if listed else query
    return [record(row) for row in connection.execute(query)]


def starts(connection: Connection, run_id: str) -> dict[str, tuple[str, int] | None]:
    """Return for every segment of a run the (segment, step) of the node at which it starts."""
    query = (
        select(segments.c.id, nodes.c.segment_id, nodes.c.step)
        .outerjoin(nodes, nodes.c.id == segments.c.start_node_id)
        .where(segments.c.run_id == run_id)
    )
    return {
        row.id: None if row.segment_id is None else (row.segment_id, row.step)
        for row in connection.execute(query)
    }


def checkpoint(connection: Connection, digest: str, *, need: str = "all") -> StoredCheckpoint:
    """Return the checkpoint with that state digest, with the location of each of its tensors.

    ``need`` is ``all`` of it, its ``weights``, whose entries alone a thinned one then has, or its
    ``record``, which has the locations of what is left.

    Raises:
        CheckpointMissing: it is not recorded. CheckpointDamaged: its record is.
        CheckpointThinned: what is left of it is not what is needed.
    """
    stored = checkpoints_or_errors(connection, [digest], need=need)[digest]
    if isinstance(stored, CheckpointError):
        raise stored
    return stored


def checkpoints_or_errors(
    connection: Connection, digests: Collection[str], *, need: str = "all"
) -> dict[str, StoredCheckpoint | CheckpointError]:
    """Return for each state digest what `checkpoint` returns or raises, in two statements."""
    query = select(checkpoints).where(checkpoints.c.digest.in_(digests))
    rows = {row.digest: row for row in connection.execute(query)}
    stored: dict[str, StoredCheckpoint | CheckpointError] = {}
    readable: dict[str, tuple[dict[str, Any], set[str]]] = {}
    for digest in digests:
        try:
            readable[digest] = _manifest(connection, digest, rows.get(digest), need)
        except CheckpointError as error:
            stored[digest] = error
    named = {tensor for _, contents in readable.values() for tensor in contents}
    locations = packs.locate(connection, named)
    for digest, (manifest, contents) in readable.items():
        row = rows[digest]
        located = {each: locations[each] for each in contents if each in locations}
        missing = len(contents) - len(located)
        if missing and not (row.thinned and need == "record"):
            stored[digest] = damaged_record(
                digest, f"the location of {missing} of its tensors is not recorded"
            )
            continue
        sizes = row.tensors, row.logical_bytes, row.stored_bytes
        stored[digest] = StoredCheckpoint(digest, manifest, located, *sizes, row.thinned)
    return stored


def _manifest(
    connection: Connection, digest: str, row: Row[Any] | None, need: str
) -> tuple[dict[str, Any], set[str]]:
    """Return the manifest of a checkpoint, and the digests of its tensors."""
    if row is None:
        raise CheckpointMissing(
            f"The checkpoint {digest[:12]} is not in the database.",
            fix="Resume from another node.",
            path=digest,
        )
    if need != "record":
        _refuse_less(connection, digest, row.thinned, need)
    try:
        manifest = json.loads(zlib.decompress(row.manifest))
        if row.thinned and need == "weights":
            manifest = references.weights_alone(manifest)
        return manifest, {digest for _name, _dtype, _shape, digest in manifest["tensors"]}
    except (zlib.error, ValueError, TypeError, LookupError) as error:
        raise damaged_record(digest, f"its manifest cannot be read: {error}") from error


def check_left(connection: Connection, digest: str, need: str, *, rebuild: bool = False) -> None:
    """Refuse a checkpoint of which less is left than is needed, see `checkpoint`.

    With ``rebuild`` its recipe is enough: it is trained again before it is read.

    Raises:
        CheckpointThinned: names one of its nodes.
    """
    if need == "record":
        return
    left = thinned(connection, digest)
    if not (rebuild and left == references.RECIPE):
        _refuse_less(connection, digest, left, need)


def _refuse_less(connection: Connection, digest: str, left: str | None, need: str) -> None:
    if left and (left, need) != ("weights", "weights"):
        node_id, is_merge = _a_node(connection, digest)
        raise NeverWhole(node_id) if is_merge else CheckpointThinned(node_id, left)


def is_merged(connection: Connection, digest: str) -> bool:
    """Return whether a state is that of a merge, which has never had more than its weights."""
    return _a_node(connection, digest)[1]


def thinned(connection: Connection, digest: str) -> str | None:
    """Return what is left of a thinned checkpoint: ``recipe`` or ``weights``; None for all."""
    query = select(checkpoints.c.thinned).where(checkpoints.c.digest == digest)
    return connection.execute(query).scalar()


def _a_node(connection: Connection, digest: str) -> tuple[str, bool]:
    """Return the first node with a state, and whether it is a merge."""
    query = select(nodes.c.id, nodes.c.kind).where(nodes.c.state_digest == digest)
    row = connection.execute(query.order_by(nodes.c.seq).limit(1)).first()
    return (digest[:12], False) if row is None else (row.id, row.kind == "merge")


def record(row: Row[Any]) -> Node:
    """Return a row of the table as a value."""
    return _node(row._asdict())


def _node(values: Mapping[str, Any]) -> Node:
    changes = tuple(Change(**change) for change in values["changes"])
    return Node(**{**values, "changes": changes})


def damaged_record(digest: str, why: str) -> CheckpointDamaged:
    """Return the error of a checkpoint whose record cannot be used."""
    return CheckpointDamaged(
        f"The record of the checkpoint {digest[:12]} is damaged: {why}.",
        safe="Other nodes are untouched.",
        fix="Resume from another node; `branchtrack verify --all` lists which are whole.",
        node=None,
        path="database",
        tensor="",
    )
