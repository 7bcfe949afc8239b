"""The distance between the weights of two nodes as plain JSON; what cannot be read is said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from branchtrack.analysis import diff
from branchtrack.analysis.comparison import weights
from branchtrack.analysis.comparison.sides import Directory, Side
from branchtrack.analysis.comparison.weights import Row
from branchtrack.checkpoints.packs import Store
from branchtrack.core import formats
from branchtrack.core.records import StoredCheckpoint
from branchtrack.db import nodes
from branchtrack.db.views import tree_nodes
from branchtrack.db.views.tree_outline import NodeSummary
from branchtrack.errors import CheckpointError, InvalidInput, StorageError

#: A server reads no more for one answer.
MOST = 1 << 32


@dataclass(frozen=True)
class Plan:
    """The checkpoints of a comparison as the database has them; ``notes`` say what is missing.

    ``ancestor`` is the node that both come from. Without ``a`` or ``b`` nothing can be compared.
    """

    nodes: tuple[NodeSummary, NodeSummary]
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
    directory = Directory(connection, (a_ref, b_ref))
    heads = [_head(directory.side(ref)) for ref in (a_ref, b_ref)]
    starts = [branch.start_node_id for branch in directory.roster.branches.values()]
    lineage = tree_nodes.lineage(connection, heads, ids=[*heads, *filter(None, starts)])
    lines = [[node for _distance, node in lineage.lines[head]] for head in heads]
    common = diff.common_ancestor(*lines)
    a, b = lines[0][0], lines[1][0]
    digests = {node.state_digest for node in (a, b, common) if node is not None}
    stored = nodes.checkpoints_or_errors(connection, digests, need="weights")
    notes: list[str] = []
    sides = [_stored(stored[node.state_digest], notes) for node in (a, b)]
    fork = None
    if common is None:
        notes.append("The two have no common ancestor: distances are of the weights of the first.")
    elif all(sides):
        fork = _stored(stored[common.state_digest], notes)
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


def _head(side: Side) -> str:
    if side.head_id is None:
        raise InvalidInput("branch", side.branch.name, "a branch with at least one node")
    return side.head_id


def _stored(
    stored: StoredCheckpoint | CheckpointError, notes: list[str]
) -> StoredCheckpoint | None:
    """Return a checkpoint with its weights; None, and a note, if they are not there."""
    if isinstance(stored, CheckpointError):
        notes.append(stored.what + (f" {stored.fix}" if stored.fix else ""))
        return None
    return stored
