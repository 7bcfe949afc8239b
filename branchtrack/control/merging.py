"""A merge of two nodes, checked before any process is started. It stores nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from branchtrack.checkpoints.packs import Store
from branchtrack.control import code_changes, launch_checks
from branchtrack.control import launch as orders
from branchtrack.control.text import clean_text
from branchtrack.control.verification import verify_outline
from branchtrack.core import actors
from branchtrack.core.actors import Actor
from branchtrack.core.forks import merges
from branchtrack.core.names import free_name, new_id
from branchtrack.core.records import Node
from branchtrack.db import nodes, runs
from branchtrack.db.engine import Database
from branchtrack.db.storage import references
from branchtrack.errors import InvalidInput, NameTaken


@dataclass(frozen=True)
class PlannedMerge:
    """A merge that may be made: its nodes, the ``name`` of its branch, and its ``message``.

    ``averaged`` and ``unaveraged`` name the tensors that differ, those of the second taken from
    ``a``; ``shared`` counts the others. ``nbytes`` are the averaged tensors'. ``command`` is
    what is started, if it is not the recorded one.
    """

    a: Node
    b: Node
    weights: tuple[float, float]
    name: str | None
    message: str
    actor: str
    averaged: Sequence[str]
    unaveraged: Sequence[str]
    shared: int
    nbytes: int
    command: Mapping[str, Any] | None
    thinned: Sequence[str] = ()

    def order(self, watcher: int) -> merges.Merge:
        """Return the order for the process, as the branch of a new id."""
        return merges.Merge(
            new_id(),
            self.a.id,
            self.b.id,
            self.weights,
            self.actor,
            self.name,
            self.message,
            watcher,
        )


def plan_merge(
    database: Database,
    store: Store,
    a_ref: str,
    b_ref: str,
    weights: tuple[float, float],
    *,
    actor: Actor | str,
    name: str | None = None,
    reason: str = "",
    allow_code_change: bool = True,
    entry_point: Mapping[str, Any] | None = None,
    rebuild: bool = False,
) -> PlannedMerge:
    """Check a merge of two nodes, each named by an id, RUN@STEP, or a branch for its last node.

    ``entry_point`` is the command, if it is not the run's own. With ``rebuild`` nodes pass of which
    the recipe is left: they are trained again before the merge.

    Raises:
        NotFound, InvalidInput, NameTaken, Forbidden, RateLimited: nothing was changed.
        CheckpointMissing, CheckpointDamaged, CheckpointThinned: a node has no whole weights.
        LaunchFailed: the run has no command that could start it again.
        CodeChanged: code or packages are not those of the first node, unless ``allow_code_change``.
    """
    database.check_writable()
    text, who = clean_text("reason", reason), actors.of(actor)
    with database.read() as connection:
        a, b = nodes.find(connection, a_ref), nodes.find(connection, b_ref)
        order: dict[str, Any] = {"node": a.id, "mode": "weights", "name": name, "settings": {}}
        orders.check_allowed(connection, a, order, who, text)
        _check_nodes(a, b)
        _check_name(connection, a, name)
        if not allow_code_change:
            code_changes.check(connection, a, entry_point)
        command = launch_checks.startable(connection, a, store.home, entry_point)
        message = merges.message(_at(connection, a), _at(connection, b), weights, text)
    of_a, of_b = (_verified_weights(database, store, node, rebuild) for node in (a, b))
    averaged = _comparable(b, of_a, of_b)
    unaveraged = merges.taken_from_a(of_a, of_b)
    return PlannedMerge(
        a=a,
        b=b,
        weights=weights,
        name=name,
        message=message,
        actor=who.label,
        averaged=averaged,
        unaveraged=unaveraged,
        shared=len(of_a) - len(averaged) - len(unaveraged),
        nbytes=merges.nbytes(of_a, averaged),
        command=command,
        thinned=_thinned(database, (a, b)),
    )


def _check_nodes(a: Node, b: Node) -> None:
    if a.run_id != b.run_id:
        what = "The two nodes are of different runs, which no process could evaluate together."
        raise InvalidInput("b", b.id, "a node of the run of the first one", what=what)
    if a.id == b.id or a.state_digest == b.state_digest:
        what = "The two nodes have the same state: there is nothing to merge."
        raise InvalidInput("b", b.id, "a node with another state", what=what)


def _check_name(connection: Connection, a: Node, name: str | None) -> None:
    taken = runs.branch_names(connection, a.run_id)
    if name is not None and name in taken:
        raise NameTaken("branch", name, free_name(name, taken))


def _comparable(
    b: Node, of_a: Sequence[merges.Entry], of_b: Sequence[merges.Entry]
) -> Sequence[str]:
    """Return the tensors to average.

    Raises:
        InvalidInput: the models differ, or their weights do not.
    """
    if different := merges.difference(of_a, of_b):
        raise InvalidInput(
            "b",
            b.id,
            "a node whose model has tensors of the same names, shapes and dtypes",
            what=f"The two nodes have different models: {different}",
        )
    averaged = merges.averaged(of_a, of_b)
    if not averaged:
        what = "The two nodes have the same weights: there is nothing to merge."
        raise InvalidInput("b", b.id, "a node with other weights", what=what)
    return averaged


def _verified_weights(
    database: Database, store: Store, node: Node, rebuild: bool
) -> Sequence[merges.Entry]:
    """Return the weights of a node; with ``rebuild`` those that its record names are enough.

    Raises:
        CheckpointMissing, CheckpointDamaged, CheckpointThinned: it has no whole weights.
    """
    verify_outline(database, store, node, need="weights", rebuild=rebuild)
    with database.read() as connection:
        need = "record" if rebuild else "weights"
        stored = nodes.checkpoint(connection, node.state_digest, need=need)
    return references.weights(stored.manifest)


def _thinned(database: Database, pair: Sequence[Node]) -> list[str]:
    """Return the ids of nodes of which only the recipe is left."""
    with database.read() as connection:
        left = {node.id: nodes.thinned(connection, node.state_digest) for node in pair}
    return [node_id for node_id, kind in left.items() if kind == references.RECIPE]


def _at(connection: Connection, node: Node) -> str:
    return f"{runs.get_branch(connection, node.branch_id).name}@{node.step}"
