"""Rebuilding what retention has thinned: trained again from a whole node, compared bit for bit.

A process of its own does it, as for a trial of exactness; all that remains of it is the checkpoint,
or the log if it failed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from branchtrack.config import Config
from branchtrack.core.records import Node
from branchtrack.db import nodes
from branchtrack.db.engine import Database
from branchtrack.errors import CheckpointMismatch, CheckpointThinned
from branchtrack.launching import certification
from branchtrack.launching.certification import Watch
from branchtrack.retention import choices, plans


@dataclass(frozen=True)
class Stretch:
    """What is to be trained again: ``target`` has the thinned state, and ``start`` is whole."""

    start: Node
    target: Node

    @property
    def updates(self) -> int:
        """The updates between them."""
        return self.target.step - self.start.step


def stretch(connection: Connection, node: Node) -> Stretch | None:
    """Return the shortest stretch that leads to the state of a node; None if the node is whole.

    Raises:
        CheckpointThinned: no node is left from which a process could train to it again.
    """
    thinned = nodes.thinned(connection, node.state_digest)
    if thinned is None:
        return None
    commits = plans.commits_of(connection, node.run_id)
    pairs = [
        (start, target)
        for target in commits
        if target.checkpoint == node.state_digest
        and (start := choices.anchor(commits, target)) is not None
    ]
    if not pairs:
        fix = "Resume from another node; `branchtrack tree RUN` lists them."
        raise CheckpointThinned(node.id, thinned, fix)
    start, target = min(pairs, key=lambda pair: pair[1].step - pair[0].step)
    return Stretch(nodes.get(connection, start.id), nodes.get(connection, target.id))


def rebuild(
    database: Database,
    config: Config,
    chosen: Stretch,
    watch: Watch,
    entry_point: Mapping[str, Any] | None = None,
) -> None:
    """Train a stretch again and store the state that it leads to.

    ``entry_point`` is the command, if it is not the run's own.

    Raises:
        CheckpointMismatch: the state is not the recorded one; nothing was stored.
        LaunchFailed: the process cannot be started, or did not reach the node. Whatever ``watch``
        raises ends the process.
    """
    start, target = chosen.start, chosen.target
    trained = certification.train_again(
        database, config, start, target, watch, rebuild=True, entry_point=entry_point
    )
    with database.read() as connection:
        if nodes.thinned(connection, target.state_digest) is None:
            trained.log.unlink(missing_ok=True)
            return
    if trained.digest is None:
        what = f"Node {target.id} was not rebuilt."
        raise certification.failure(what, trained.exit_code, trained.log)
    trained.log.unlink(missing_ok=True)
    raise CheckpointMismatch(
        f"Training from node {start.id} again led to the state {trained.digest}, and node "
        f"{target.id} had {target.state_digest}.",
        safe="Nothing was stored.",
        fix="Train with the script, the packages and the data of the first training: "
        f"`branchtrack show {target.id}` has its environment.",
        field="state",
        expected=target.state_digest,
        found=trained.digest,
    )


def make_whole(
    database: Database,
    config: Config,
    node: Node,
    announce: Callable[[Stretch], None] = lambda chosen: None,
    watch: Watch = lambda step: None,
    entry_point: Mapping[str, Any] | None = None,
) -> bool:
    """Rebuild the state of a node if only its recipe is left; return whether it was.

    ``announce`` is called before. Of a node whose weights are left nothing is proved: it stays.

    Raises:
        CheckpointThinned, CheckpointMismatch, LaunchFailed: as `stretch` and `rebuild`.
    """
    with database.read() as connection:
        if nodes.thinned(connection, node.state_digest) != "recipe":
            return False
        chosen = stretch(connection, node)
    if chosen is None:
        return False
    announce(chosen)
    rebuild(database, config, chosen, watch, entry_point)
    return True
