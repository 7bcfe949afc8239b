"""The distance between the weights of two nodes as plain JSON; what cannot be read is said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from branchtrack.analysis import diff, weights
from branchtrack.analysis.weights import Row
from branchtrack.checkpoints.packs import Store
from branchtrack.core import formats
from branchtrack.core.records import Branch, Node, StoredCheckpoint
from branchtrack.db import nodes, runs
from branchtrack.db.views import tree_outline
from branchtrack.errors import CheckpointError, InvalidInput, StorageError

#: A server reads no more for one answer.
MOST = 1 << 32


@dataclass(frozen=True)
class Plan:
    """The checkpoints of a comparison as the database has them; ``notes`` say what is missing.

    ``ancestor`` is the node that both come from. Without ``a`` or ``b`` nothing can be compared.
    """

    nodes: tuple[Node, Node]
    a: StoredCheckpoint | None
    b: StoredCheckpoint | None
    fork: StoredCheckpoint | None
    ancestor: str | None
    notes: tuple[str, ...]


def plan(connection: Connection, a_ref: str, b_ref: str) -> Plan:
    """Return what is needed to compare two nodes; a branch stands for its newest node.

    Raises:
        NotFound, Ambiguous: there is no such node or branch. InvalidInput: a branch has no node.
    """
    a, b = _node(connection, a_ref), _node(connection, b_ref)
    lines = [tree_outline.ancestors(connection, node.id) for node in (a, b)]
    common = diff.common_ancestor(*lines)
    notes: list[str] = []
    sides = [_stored(connection, node.state_digest, notes) for node in (a, b)]
    fork = None
    if common is None:
        notes.append("The two have no common ancestor: distances are of the weights of the first.")
    elif all(sides):
        ancestor = nodes.get(connection, common.id)
        fork = _stored(connection, ancestor.state_digest, notes)
        if fork is None:
            notes.append("So distances are of the weights of the first, without directions.")
    return Plan((a, b), sides[0], sides[1], fork, common.id if common else None, tuple(notes))


def size(planned: Plan) -> int:
    """Return how many bytes of packs the comparison reads."""
    a, b = planned.a, planned.b
    return 0 if a is None or b is None else weights.to_read(a, b, planned.fork)


def measured(store: Store, planned: Plan, most: int | None = None) -> dict[str, Any]:
    """Return the comparison as JSON; ``most`` is how many bytes may be read for it.

    Keys: ``a b ancestor has_fork rows total integers unmatched notes``; ``rows`` is empty if it
    could not be made, for a reason in ``notes``. A row is ``name tensors equal elements distance
    cosine moved_a moved_b``.
    """
    a, b, fork = planned.a, planned.b, planned.fork
    answer: dict[str, Any] = {
        "a": planned.nodes[0].id,
        "b": planned.nodes[1].id,
        "ancestor": planned.ancestor,
        "has_fork": fork is not None,
        "rows": [],
        "total": None,
        "integers": 0,
        "unmatched": 0,
        "notes": list(planned.notes),
    }
    if a is None or b is None:
        return answer
    if most is not None and size(planned) > most:
        command = f"branchtrack diff {planned.nodes[0].id} {planned.nodes[1].id} --weights"
        answer["notes"].append(
            f"These weights are {formats.size(size(planned))} to read, more than a server reads"
            f" for one answer: `{command}` compares them."
        )
        return answer
    try:
        distances = weights.compare(store, a, b, fork)
    except (CheckpointError, StorageError) as error:
        answer["notes"].append(error.what)
        return answer
    answer["integers"], answer["unmatched"] = distances.integers, distances.unmatched
    if distances.total.tensors:
        answer["rows"] = [_row(row, distances.has_fork) for row in distances.rows]
        answer["total"] = _row(distances.total, distances.has_fork)
    answer["notes"] += _counts(distances.integers, distances.unmatched, distances.total.tensors)
    return answer


def _row(row: Row, has_fork: bool) -> dict[str, Any]:
    moved = (row.moved_a, row.moved_b) if has_fork and row.base else (None, None)
    return {
        "name": row.name,
        "tensors": row.tensors,
        "equal": row.equal,
        "elements": row.elements,
        "distance": row.distance,
        "cosine": row.cosine if has_fork else None,
        **{
            name: None if squares is None else (squares / row.base) ** 0.5
            for name, squares in zip(("moved_a", "moved_b"), moved, strict=True)
        },
    }


def _counts(integers: int, unmatched: int, tensors: int) -> list[str]:
    notes = [] if tensors else ["No tensor of a model is in both."]
    if integers:
        notes.append(f"{formats.plural(integers, 'tensor')} of whole numbers not compared.")
    if unmatched:
        notes.append(f"{formats.plural(unmatched, 'tensor')} not in both with one shape.")
    return notes


def _node(connection: Connection, ref: str) -> Node:
    node = nodes.by_prefix(connection, ref)
    if node is not None:
        return node
    branch: Branch = runs.find_branch(connection, ref)
    if branch.head_id is None:
        raise InvalidInput("branch", branch.name, "a branch with at least one node")
    return nodes.get(connection, branch.head_id)


def _stored(connection: Connection, digest: str, notes: list[str]) -> StoredCheckpoint | None:
    """Return a checkpoint with its weights; None, and a note, if they are not there."""
    try:
        return nodes.checkpoint(connection, digest, need="weights")
    except CheckpointError as error:
        notes.append(error.what + (f" {error.fix}" if error.fix else ""))
        return None
