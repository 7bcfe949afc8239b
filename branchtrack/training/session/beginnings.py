"""How a session comes by its segment: in a new run, by a launch, or in this process by itself.

What a session needs of the record is made in the transaction in which it takes its segment: what
is refused before that leaves nothing. It knows no live objects.
"""

from __future__ import annotations

import logging
import os
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from branchtrack import processes, redaction, scripts
from branchtrack.core.names import NAME_RULE, as_name, new_id
from branchtrack.core.records import Branch, Launch, NewNode, Node, Run, Segment
from branchtrack.db import launches, nodes, runs, segments
from branchtrack.training.record import environment
from branchtrack.training.session import ordinals
from branchtrack.training.session.ordinals import Training

logger = logging.getLogger("branchtrack")


class Beginning:
    """Makes or finds the segment that a session is to take.

    ``fork`` is the node that stands at its start once it was made, ``launch`` the launch that this
    process itself has ordered.
    """

    fork: Node | None = None
    launch: Launch | None = None

    @property
    def own_branch(self) -> str | None:
        """The name of the branch, where it is not the one that its run began with."""
        return None

    def segment(self, connection: Connection, actor: str) -> Segment:
        """The waiting segment; called again where the transaction came to nothing."""
        raise NotImplementedError

    def tell(self) -> None:
        """Say what people should know, once all of it is in the record."""


@dataclass
class NewRun(Beginning):
    """A run of its own; ``output`` is the folder that the script writes to, if there is one.

    ``planned`` is its segment, whose ids are made here: training may begin before it is recorded.
    """

    training: Training
    home: Path
    output: str | None = None
    run: Run | None = field(default=None, init=False)
    planned: Segment = field(
        default_factory=lambda: segments.new(new_id(), new_id(), None, 0), init=False
    )

    def segment(self, connection: Connection, actor: str) -> Segment:
        """The first segment of a new run's default branch."""
        requested_name = self.training.name
        self.run = runs.create_run(
            connection,
            as_name(requested_name, "run"),
            actor=actor,
            requested_name=requested_name,
            entry_point=entry_point(self.training, self.home, self.output),
            command=ordinals.command(self.training, self.home),
            run_id=self.planned.run_id,
        )
        branch_id = self.planned.branch_id
        runs.create_branch(connection, self.run.id, self.run.default_branch, branch_id=branch_id)
        segments.add(connection, self.planned)
        return self.planned

    def tell(self) -> None:
        """Say the run's name where it is not the one that was asked for."""
        requested_name = self.training.name
        if self.run is None or self.run.name == requested_name:
            return
        plain = as_name(requested_name, "run")
        why = [] if plain == requested_name else [f"a name has {NAME_RULE}"]
        why += [] if plain == self.run.name else [f"{plain} is taken"]
        logger.warning(
            "branchtrack: %r is recorded as run %s (%s).",
            requested_name,
            self.run.name,
            "; ".join(why),
        )


@dataclass
class Launched(Beginning):
    """The segment of the launch that this process was started for."""

    order: Launch
    home: Path

    @property
    def own_branch(self) -> str | None:
        """The branch that the launch was ordered for."""
        return self.order.branch

    def segment(self, connection: Connection, actor: str) -> Segment:
        """Its segment; the command that has led here is remembered if it was another."""
        if self.order.entry_point is not None:
            run = runs.get_run(connection, self.order.run_id)
            now = {**(run.entry_point or {}), **(_command(self.home) or {})}
            if now != run.entry_point:
                runs.set_entry_point(connection, run, now, actor=actor)
        return segments.get(connection, self.order.segment_id)


@dataclass
class SameBranch(Beginning):
    """The same branch once more, after ``last``, whose process is gone; from node ``start``."""

    branch: Branch
    last: Segment
    start: Node
    planned: NewNode

    @property
    def own_branch(self) -> str | None:
        """The branch, unless it is its run's first."""
        return None if self.branch.start_node_id is None else self.branch.name

    def segment(self, connection: Connection, actor: str) -> Segment:
        """A new segment, with a node that stands for the one that it starts at."""
        segment = segments.follow(connection, self.branch, self.last, self.start, actor=actor)
        values = {**vars(self.planned), "branch_id": self.branch.id, "segment_id": segment.id}
        self.fork = nodes.commit(connection, NewNode(**{**values, "actor": actor}))
        return segment


@dataclass
class NewBranch(Beginning):
    """A new branch from ``start``, trained by this process."""

    start: Node
    overrides: dict[str, Any]
    mode: str
    name: str
    reason: str = ""

    @property
    def own_branch(self) -> str | None:
        """Its name."""
        return self.name

    def segment(self, connection: Connection, actor: str) -> Segment:
        """A launch that is this process's own, and its segment."""
        launch = launches.order(
            connection,
            self.start,
            branch_name=self.name,
            overrides=self.overrides,
            mode=self.mode,
            actor=actor,
            reason=self.reason,
        )
        owner = processes.own_name()
        launches.move(connection, launch.id, "starting", actor, worker=owner)
        self.launch = launches.move(connection, launch.id, "running", actor, pid=os.getpid())
        self.fork = nodes.get(connection, launch.fork_node_id)
        return segments.get(connection, launch.segment_id)


def entry_point(training: Training, home: Path, output: str | None) -> dict[str, Any]:
    """The command of this process, if there is one, and which training of it this is."""
    site = ordinals.site(training, home, output)
    return {**(_command(home) or {}), "training": {**training.as_dict(), "site": site}}


def _command(home: Path) -> dict[str, Any] | None:
    command = environment.entry_point()
    return command and {**command, "from_home": scripts.relation(os.getcwd(), home)}


def shown_command() -> str:
    """The command of this process, as one would type it, its secrets apart."""
    return shlex.join([Path(sys.executable).name, *redaction.redacted(sys.orig_argv[1:])])
