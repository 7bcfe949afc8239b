"""How a session gets its segment: in a new run, by a launch, or in this process by itself.

The transaction in which a session takes its segment also creates the records it needs: a refusal
before that leaves nothing behind. This module knows no live objects.
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
from branchtrack.db import nodes, runs, segments
from branchtrack.db.orders import launches, ordering
from branchtrack.training.ranks.models import group_size
from branchtrack.training.record import environment
from branchtrack.training.session import ordinals
from branchtrack.training.session.ordinals import Training

logger = logging.getLogger("branchtrack")


class Beginning:
    """Creates or finds the segment that a session is to take.

    ``fork`` is the node at its start once that was created, ``launch`` the launch that this process
    itself has ordered.
    """

    fork: Node | None = None
    launch: Launch | None = None

    @property
    def own_branch(self) -> str | None:
        """The name of the branch, unless it is the one that its run began with."""
        return None

    def segment(self, connection: Connection, actor: str) -> Segment:
        """Return the waiting segment; called again if the transaction failed."""
        raise NotImplementedError

    def announce(self) -> None:
        """Log what users should know, once everything is in the record."""


@dataclass
class NewRun(Beginning):
    """A new run; ``output`` is the folder that the script writes to, if there is one.

    ``planned`` is its segment, whose ids are created here: training may begin before it is
    recorded.
    """

    training: Training
    home: Path
    output: str | None = None
    run: Run | None = field(default=None, init=False)
    planned: Segment = field(
        default_factory=lambda: segments.new(new_id(), new_id(), None, 0), init=False
    )

    def segment(self, connection: Connection, actor: str) -> Segment:
        """Return the first segment of a new run's default branch."""
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

    def announce(self) -> None:
        """Log the run's name if it is not the one requested."""
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
    is_first_branch: bool = False

    @property
    def own_branch(self) -> str | None:
        """The branch that the launch was ordered for, unless it is its run's first."""
        return None if self.is_first_branch else self.order.branch

    def segment(self, connection: Connection, actor: str) -> Segment:
        """Return its segment; a different command that started this process is recorded."""
        if self.order.entry_point is not None:
            run = runs.get_run(connection, self.order.run_id)
            now = {**(run.entry_point or {}), **(_command(self.home) or {})}
            if now != run.entry_point:
                runs.set_entry_point(connection, run, now, actor=actor)
        return segments.get(connection, self.order.segment_id)


@dataclass
class SameBranch(Beginning):
    """The same branch again, after ``last``, whose process is gone; from node ``start``."""

    branch: Branch
    last: Segment
    start: Node
    planned: NewNode

    @property
    def own_branch(self) -> str | None:
        """The branch, unless it is its run's first."""
        return None if self.branch.start_node_id is None else self.branch.name

    def segment(self, connection: Connection, actor: str) -> Segment:
        """Return a new segment, with a fork node for the node that it starts at."""
        segment = segments.follow(connection, self.branch, self.last, self.start, actor=actor)
        values = {**vars(self.planned), "branch_id": self.branch.id, "segment_id": segment.id}
        self.fork = nodes.commit(connection, NewNode(**{**values, "actor": actor}))
        return segment


@dataclass
class NewBranch(Beginning):
    """A new branch from ``start``, trained by this process.

    ``training``, ``home`` and ``output`` as in `NewRun`: a run that was imported has no command
    until a script has trained it.
    """

    start: Node
    overrides: dict[str, Any]
    mode: str
    name: str
    training: Training
    home: Path
    output: str | None
    reason: str = ""

    @property
    def own_branch(self) -> str | None:
        """Its name."""
        return self.name

    def segment(self, connection: Connection, actor: str) -> Segment:
        """Create this process's own launch and return its segment."""
        run = runs.get_run(connection, self.start.run_id)
        if run.entry_point is None:
            command = entry_point(self.training, self.home, self.output)
            runs.set_entry_point(connection, run, command, actor=actor)
        launch = ordering.order(
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
    """Return the command of this process, if it has one, and which of its trainings this is."""
    site = ordinals.site(training, home, output)
    return {**(_command(home) or {}), "training": {**training.as_dict(), "site": site}}


def _command(home: Path) -> dict[str, Any] | None:
    command = environment.entry_point()
    return command and {**command, "from_home": scripts.relation(os.getcwd(), home)}


def shown_command() -> str:
    """Return the command of this process as a user would type it, without secrets."""
    words = redaction.redacted(sys.orig_argv[1:])
    if (group_size() or 1) > 1:
        # The launcher starts the interpreter by itself.
        processes = os.environ.get("LOCAL_WORLD_SIZE") or str(group_size())
        script = [word for word in words if word != "-u"]
        return shlex.join(["torchrun", "--nproc-per-node", processes, *script])
    return shlex.join([Path(sys.executable).name, *words])
