"""A home in which tests train, ask and look, as a person does with three programs."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock

from branchtrack import config, control, trust
from branchtrack.checkpoints.location import open_store
from branchtrack.core.exactness import Trial
from branchtrack.core.names import new_id
from branchtrack.core.records import Branch, Certificate, Event, Launch, Node, Request, Run, Segment
from branchtrack.db import audit, certificates, metrics, nodes, requests, runs, segments
from branchtrack.db.orders import launches
from branchtrack.db.views import run_list
from branchtrack.environment_variables import CERTIFY_VARIABLE, LAUNCH_VARIABLE
from branchtrack.training.record import commits
from branchtrack.training.session import ordinals
from branchtrack.training.session.unrecorded import replay
from branchtrack.training.state.snapshots import Snapshot
from tests.new_homes import new_database
from tests.training import tiny


class Home:
    """A home, with an SQLite database unless told another, and what can be done in it."""

    def __init__(self, folder: Path, database_url: str | None = None) -> None:
        self.folder = folder
        self.config = config.load(folder / "home", database_url)
        self.database = new_database(self.config)
        self.store = open_store(self.config.store)

    def train(
        self, launch: Launch | None = None, kind: type[Any] = tiny.BranchingTrainer, **how: Any
    ) -> Any:
        """Train as a script does, of itself or launched; returns the trainer."""
        return self.run(tiny.trainer(kind, self.folder, **how), launch)

    def run(self, trainer: Any, launch: Launch | None = None, **given: Any) -> Any:
        """Call ``train`` of a trainer in this home, as a process does that has just begun."""
        ordinals.reset()
        extra = {LAUNCH_VARIABLE: launch.id} if launch else {}
        with mock.patch.dict(os.environ, {**self.config.environment(), **extra}):
            trainer.train(**given)
        return trainer

    def order(self, node: Node, settings: dict[str, Any] | None = None, **how: Any) -> Launch:
        """Queue a resume of a node."""
        return control.create_launch(
            self.database, self.store, node.id, actor="ann", settings=settings, **how
        )

    def resume(self, node: Node, settings: dict[str, Any] | None = None, **how: Any) -> Launch:
        """Resume a node here and now, and train to the end."""
        launch = self.order(node, settings)
        self.train(launch, **how)
        return launch

    def rehearse(
        self,
        start: Node,
        target: Node,
        train: Callable[..., Any] | None = None,
        kind: type[Any] = tiny.BranchingTrainer,
        **how: Any,
    ) -> Certificate | None:
        """Train from one node to another again, as a trial's process does; its certificate."""
        trial = Trial(new_id(), start.id, target.id)
        with (
            mock.patch.dict(os.environ, {CERTIFY_VARIABLE: trial.to_text()}),
            mock.patch.object(replay, "leave", sys.exit),
            suppress(SystemExit),
        ):
            if train is None:
                self.train(kind=kind, **how)
            else:
                train(**how)
        with self.database.read() as connection:
            return certificates.find(connection, trial.certificate)

    def ask(self, kind: str, branch: str = "tiny/main", **payload: Any) -> Request:
        """Submit a request as another process would."""
        return control.submit(
            self.database, branch, {"kind": kind, **payload}, actor="ann", reason="because"
        )

    def request(self, request_id: str) -> Request:
        """A request as it is now."""
        with self.database.read() as connection:
            return requests.get(connection, request_id)

    def requests(self, run: str = "tiny") -> list[Request]:
        """A run's requests, oldest first."""
        with self.database.read() as connection:
            return requests.list_of_run(connection, runs.find_run(connection, run).id)[::-1]

    def find_run(self, name: str = "tiny") -> Run:
        """A run by name."""
        with self.database.read() as connection:
            return runs.find_run(connection, name)

    def runs(self) -> list[Run]:
        """Every run."""
        with self.database.read() as connection:
            return [one.run for one in run_list.find_runs(connection)]

    def node_of(self, node_id: str) -> Node:
        """The node of that id."""
        with self.database.read() as connection:
            return nodes.get(connection, node_id)

    def branch_of(self, launch: Launch) -> str:
        """The name of a launch's branch."""
        with self.database.read() as connection:
            return runs.get_branch(connection, launch.branch_id).name

    def branch(self, name: str) -> Branch:
        """A branch by name (``run/branch``) or id."""
        with self.database.read() as connection:
            return runs.find_branch(connection, name)

    def segment(self, name: str = "tiny/main") -> Segment:
        """The current segment of a branch."""
        with self.database.read() as connection:
            branch = runs.find_branch(connection, name)
            return segments.get(connection, branch.segment_id or "")

    def nodes(self, name: str = "tiny/main") -> list[Node]:
        """A branch's nodes, oldest first."""
        with self.database.read() as connection:
            branch = runs.find_branch(connection, name)
            found = nodes.list_of_run(connection, branch.run_id)[::-1]
        return [node for node in found if node.branch_id == branch.id]

    def node(self, step: int, name: str = "tiny/main", kind: str | None = None) -> Node:
        """The one node of a branch at a step (and of a kind)."""
        at = [n for n in self.nodes(name) if n.step == step and kind in (None, n.kind)]
        assert len(at) == 1, f"{len(at)} nodes at step {step}"
        return at[0]

    def final(self, launch: Launch | None = None) -> Node:
        """The final node of a launch's branch, or of ``tiny/main``."""
        return [n for n in self.nodes(launch.branch_id if launch else "tiny/main")][-1]

    def final_of(self, run: str) -> Node:
        """The newest node of a run's first branch."""
        return self.nodes(f"{run}/main")[-1]

    def fork(self, launch: Launch) -> Node:
        """The fork node of a launch."""
        with self.database.read() as connection:
            return nodes.get(connection, launch.fork_node_id)

    def launch_of(self, name: str) -> Launch:
        """The newest launch of a branch (``run/branch``)."""
        with self.database.read() as connection:
            found = launches.of_branch(connection, runs.find_branch(connection, name).id)
        assert found is not None
        return found

    def launch(self, launch: Launch) -> Launch:
        """A launch as it is now."""
        with self.database.read() as connection:
            return launches.get(connection, launch.id)

    def snapshot(self, node: Node) -> Snapshot:
        """A node's whole state, read back."""
        with self.database.read() as connection:
            stored = nodes.checkpoint(connection, node.state_digest)
        return commits.load(self.store, stored, node)

    def points(self, metric: str, segment: str) -> dict[int, float]:
        """A segment's metric by step."""
        with self.database.read() as connection:
            found = metrics.read(connection, [segment], metric).get(segment)
        return {} if found is None else dict(zip(found.steps.tolist(), found.values, strict=True))

    def events(self, kind: str, run: str = "tiny") -> list[Event]:
        """The lines of one kind in a run's event log, oldest first."""
        with self.database.read() as connection:
            found = audit.since(connection, runs.find_run(connection, run).id)
        return [event for event in found if event.kind == kind]

    def chain_break(self, run: str = "tiny") -> int | None:
        """Where the run's event chain breaks, if it does."""
        with self.database.read() as connection:
            return audit.first_broken_seq(connection, runs.find_run(connection, run).id)

    def copy(self, folder: Path) -> Home:
        """A home of its own in another folder, with all that was recorded in this one."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        copied = Home(folder)
        trust.mark(copied.config)
        return copied

    def close(self) -> None:
        """Give the database back."""
        self.database.close()
