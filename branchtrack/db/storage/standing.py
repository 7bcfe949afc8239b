"""Where the nodes of a run stand in its tree, as far as retention looks at them."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Connection, Text, cast, null, select

from branchtrack.core import exactness
from branchtrack.core.lifecycle import LAUNCH_ENDS
from branchtrack.core.records import Certificate
from branchtrack.db.tables import branches, checkpoints, launches, nodes, segments
from branchtrack.db.tables import certificates as certificate_rows

_BEST_STEP = re.compile(r'best_global_step\\?": ?(\d+)')


class NodeRow(NamedTuple):
    """A node: its position, its checkpoint and what is left of it."""

    seq: int
    id: str
    branch: str
    segment: str
    parent: str | None
    step: int
    kind: str
    checkpoint: str
    pinned_at: float | None
    merge_parent: str | None
    thinned: str | None
    metrics: dict[str, Any] | None


class Trial(NamedTuple):
    """A certificate, with segment and step of its nodes; ``implies`` the steps around them, too."""

    segment: str
    first: int
    last: int
    exact: bool
    implies: bool


def node_rows(connection: Connection, run_id: str, *, metrics: bool) -> Iterator[NodeRow]:
    """Yield the nodes of a run, oldest first; with ``metrics`` the values committed with them.

    What is no finite number there is no number here.
    """
    query = (
        select(
            nodes.c.seq,
            nodes.c.id,
            nodes.c.branch_id,
            nodes.c.segment_id,
            nodes.c.parent_id,
            nodes.c.step,
            nodes.c.kind,
            nodes.c.state_digest,
            nodes.c.pinned_at,
            nodes.c.merge_parent_id,
            checkpoints.c.thinned,
            # As text: the reader of JSON columns looks for infinities, and takes far longer.
            cast(nodes.c.metrics, Text) if metrics else null(),
        )
        .join(checkpoints, checkpoints.c.digest == nodes.c.state_digest)
        .where(nodes.c.run_id == run_id)
        .order_by(nodes.c.seq)
    )
    for row in connection.execute(query).all():
        values = json.loads(row[-1]) if row[-1] else None
        yield NodeRow._make((*row[:-1], values))


def heads(connection: Connection, run_id: str) -> set[str]:
    """Return the heads of a run's branches."""
    query = select(branches.c.head_id).where(
        branches.c.run_id == run_id, branches.c.head_id.is_not(None)
    )
    return set(connection.execute(query).scalars())


def in_use(connection: Connection, run_id: str) -> dict[str, str]:
    """Return the nodes that launches which have not ended and segments begin with, and why."""
    starts = select(segments.c.start_node_id).where(
        segments.c.run_id == run_id, segments.c.start_node_id.is_not(None)
    )
    reasons = dict.fromkeys(connection.execute(starts).scalars(), "start of a process")
    query = select(launches.c.node_id, launches.c.fork_node_id).where(
        launches.c.run_id == run_id, launches.c.state.not_in(LAUNCH_ENDS)
    )
    for row in connection.execute(query):
        reasons |= dict.fromkeys(row, "launch")
    return reasons


def best_steps(connection: Connection, run_id: str) -> set[int]:
    """Return the steps of the best models that the trainings of a run would load at their end."""
    query = (
        select(checkpoints.c.manifest)
        .join(nodes, nodes.c.state_digest == checkpoints.c.digest)
        .join(branches, branches.c.head_id == nodes.c.id)
        .where(branches.c.run_id == run_id)
    )
    texts = (zlib.decompress(blob).decode("ascii") for blob in connection.execute(query).scalars())
    return {int(step) for text in texts for step in _BEST_STEP.findall(text)}


def trials(connection: Connection, run_id: str) -> list[Trial]:
    """Return the trials of exactness of a run, oldest first."""
    first, last = nodes.alias("first"), nodes.alias("last")
    query = (
        select(certificate_rows, first.c.segment_id, first.c.step, last.c.step.label("last_step"))
        .join(first, first.c.id == certificate_rows.c.from_node_id)
        .join(last, last.c.id == certificate_rows.c.to_node_id)
        .where(certificate_rows.c.run_id == run_id)
        .order_by(certificate_rows.c.created_at, certificate_rows.c.id)
    )
    found = []
    for row in connection.execute(query).mappings():
        values = {column.name: row[column] for column in certificate_rows.c}
        certificate: Certificate = Certificate(**values)
        found.append(
            Trial(
                row["segment_id"],
                row["step"],
                row["last_step"],
                certificate.exact,
                exactness.verdict(certificate) == "exact",
            )
        )
    return found
