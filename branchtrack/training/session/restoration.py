"""Whether a resume trains what its node's own continuation trained: verified, never assumed.

The first update of a resume is compared with the recorded first update after the node. This module
knows no loop and no live object.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from branchtrack.core import restores
from branchtrack.core.records import Node
from branchtrack.db import audit, nodes
from branchtrack.errors import CheckpointMismatch
from branchtrack.training.session.proof import Affects, compare


@dataclass(frozen=True)
class Reference:
    """What the first update of a resume is compared with.

    ``node`` is the node that the process continues from, ``proof`` the record of the update after
    it, and ``declared`` the settings changed on the way from there. ``same_as`` are the nodes of
    the same state and settings that have no recorded continuation yet. ``weights_only``: nothing
    else of the state was loaded.
    """

    node: Node
    proof: dict[str, Any] | None
    declared: tuple[str, ...]
    same_as: tuple[str, ...]
    weights_only: bool = False

    def compare(
        self,
        seen: Mapping[str, Any],
        options: Iterable[str],
        unrestored: Mapping[str, Any],
        not_restored: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Do as `proof.compare`; ``unrestored`` (name -> expected, found) is differing state.

        ``options``: the names in the optimizers' parameter groups. ``not_restored`` names what
        could not be restored: then an equal update does not prove the later ones.
        """
        affects = Affects(self.declared, options, fresh=self.weights_only)
        compared = compare(self.proof, seen, affects)
        differing = {difference["name"] for difference in compared["differences"]}
        for name, (expected, actual) in unrestored.items():
            compared["state"] = "differs"
            if name not in differing:
                compared["differences"].append(
                    {"name": name, "expected": expected, "found": actual}
                )
        if not_restored and not self.weights_only:
            compared["not_restored"] = sorted(not_restored)
            if compared["state"] == "equal":
                compared["state"] = "unknown"
        return compared


def reference(connection: Connection, node: Node, *, weights_only: bool) -> Reference:
    """Return what to compare the first update after ``node`` with.

    That is its own proof; for a fork without a continuation its parent's, and so on.
    """
    declared: list[str] = []
    same_as: list[str] = []
    nearest = node
    while nearest.proof is None and nearest.kind == "fork" and nearest.parent_id is not None:
        declared += [change.name for change in nearest.changes]
        nearest = nodes.get(connection, nearest.parent_id)
        if not declared and not weights_only and nearest.proof is None:
            same_as.append(nearest.id)
    return Reference(node, nearest.proof, tuple(declared), tuple(same_as), weights_only)


def record(
    connection: Connection,
    node_ids: Iterable[str],
    proof: dict[str, Any],
    compared: dict[str, Any] | None,
    reference: Reference | None,
    actor: str,
) -> None:
    """Record the first update after the nodes ``node_ids``, and how it compares."""
    alike = reference.same_as if reference is not None else ()
    for node_id in {*node_ids, *alike}:
        nodes.set_proof(connection, node_id, proof)
    if compared is None or reference is None:
        return
    nodes.set_compared(connection, reference.node.id, compared)
    audit.append(
        connection,
        reference.node.run_id,
        kind="restore",
        ref=reference.node.id,
        state=compared["state"],
        actor=actor,
        step=compared["step"],
        payload={
            name: compared.get(name) for name in (*restores.PARTS, "not_restored", "differences")
        },
    )


def refusal(compared: Mapping[str, Any], node: Node) -> CheckpointMismatch:
    """Return the error that ends a training whose restore differs."""
    first = compared["differences"][0]
    return CheckpointMismatch(
        f"The first update after node {node.id} differs from the node's own continuation: "
        f"{restores.differences(compared)}.",
        safe="Training ended after that update; no node was created from it.",
        fix="Pass to the resume what the script keeps outside of its model, optimizer and "
        "scheduler (trainer.track(name=...), start(objects=...)), or resume without --strict.",
        field=first["name"],
        expected=first["expected"],
        found=first["found"],
    )
