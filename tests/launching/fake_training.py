"""A training without torch: takes its segment, logs, commits, answers, ends. Run as a script.

fake_training.py NAME [--steps N] [--seconds S] [--crash-at N] [--leave-open] [--no-taking]
                 [--exit-code N] [--on-sigterm] [--seeded]

With ``--seeded`` its loss depends on a seed, too, and the lower the lr, the lower it is. A launch
with ``stop_at`` ends there.

As the process of a trial of exactness it does what FAKE_TRIAL says: ``exact``, ``differs``,
``crash``, ``sleep`` or nothing.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
import time
import zlib
from pathlib import Path
from typing import Any

from branchtrack import config, control
from branchtrack.checkpoints.location import open_store
from branchtrack.core.builtin_settings import SEED
from branchtrack.core.exactness import Trial
from branchtrack.core.records import Certificate, Change, Request, Segment
from branchtrack.db import certificates, metrics, nodes, requests, runs, segments
from branchtrack.db.orders import launches
from branchtrack.db.schema import open_database
from branchtrack.environment_variables import CERTIFY_VARIABLE
from tests.trees_for_tests import DECLARED, SETTINGS, Tree


class FakeTraining:
    """One segment of a run whose loss falls as fast as its lr says."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        found = config.load()
        self.database = open_database(found, create=True)
        self.store = open_store(found.store)
        self.settings: dict[str, Any] = dict(SETTINGS)
        self.last = options.steps
        self.is_seeded = getattr(options, "seeded", False)
        if self.is_seeded:
            self.settings["seed"] = 0
        launch_id = os.environ.get("BRANCHTRACK_LAUNCH")
        self.tree, self.head, self.step = self._resume(launch_id) if launch_id else self._begin()
        self.stopping = False
        if options.on_sigterm:
            # As a real training does: a node, and then what the signal means. Whoever sees the
            # segment may send the signal, so the handler is there first.
            signal.signal(signal.SIGTERM, self.stop_by_signal)
        self.segment = self._take()

    def run(self) -> None:
        """The loop: one point, one control point, again."""
        if self.head is None:
            self.head = self.tree.node("main", 0, kind="root", settings=self.settings)
        else:
            with self.database.transaction() as connection:
                nodes.set_effective(connection, self.head.id, dict(self.settings))
        while self.step < self.last and not self.stopping:
            self.step += 1
            if self.step == self.options.crash_at:
                raise RuntimeError(f"the loss exploded at step {self.step}")
            self._log()
            self._control_point()
            time.sleep(self.options.seconds)
        if self.options.leave_open:
            os._exit(0)
        self._commit("final", ())
        with self.database.transaction() as connection:
            is_over = self.step >= self.options.steps and not self.stopping
            status = "finished" if is_over else "stopped"
            control.expire_unanswered(connection, self.segment.id, "fake", "It ended.")
            segments.end(connection, self.segment.id, status, actor="fake")

    def stop_by_signal(self, number: int, _frame: object) -> None:
        self.stopping, self.options.exit_code = True, 128 + number

    def _begin(self) -> Any:
        argv = [sys.executable, os.path.abspath(sys.argv[0]), *sys.argv[1:]]
        env = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
        with self.database.transaction() as connection:
            run = runs.create_run(
                connection,
                self.options.name,
                actor="fake",
                entry_point={"argv": argv, "cwd": os.getcwd(), "env": env},
            )
        tree = Tree(self.database, self.store, run)
        tree.branch("main", train=False)
        return tree, None, 0

    def _resume(self, launch_id: str) -> Any:
        with self.database.read() as connection:
            launch = launches.get(connection, launch_id)
            fork = nodes.get(connection, launch.fork_node_id)
            run = runs.get_run(connection, launch.run_id)
            branch = runs.get_branch(connection, launch.branch_id)
        self.settings = fork.settings
        self.last = int(launch.overrides.get("stop_at") or self.last)
        return Tree(self.database, self.store, run, {branch.name: branch}), fork, fork.step

    def _take(self) -> Segment:
        (name,) = self.tree.branches
        self.branch = name
        with self.database.transaction() as connection:
            return segments.take(
                connection,
                self.tree.segment(name).id,
                actor="fake",
                declared=[*DECLARED, *([SEED.as_dict()] if self.is_seeded else [])],
                settings=self.settings,
                max_steps=self.options.steps,
            )

    def _log(self) -> None:
        now, loss = time.time(), self.loss
        with self.database.transaction() as connection:
            metrics.append(connection, self.segment.id, [("loss", self.step, loss, now)])
            segments.heartbeat(connection, self.segment.id, self.step, 1.0, self.settings)

    @property
    def loss(self) -> float:
        """What is logged at this step."""
        if not self.is_seeded:
            return 1.0 / (1 + self.step * self.settings["lr"])
        drawn = zlib.crc32(f"{self.settings['seed']}:{self.step}".encode()) / 2**32
        return 2.0 + (10 + drawn) * float(self.settings["lr"])

    def _control_point(self) -> None:
        for request in control.poll(self.database, self.segment.id):
            self._carry_out(request)

    def _carry_out(self, request: Request) -> None:
        values = request.requested.get("values", {})
        before = {name: self.settings[name] for name in values}
        self.settings = {**self.settings, **values}
        changes = tuple(Change(name, before[name], values[name]) for name in values)
        # A weight decay of 7 is the one that this training cannot carry out.
        state = "ineffective" if values.get("weight_decay") == 7 else "verified"
        node = self._commit("intervention" if values else "checkpoint", changes, request.reason)
        self.stopping = request.kind == "stop"
        result = {"metrics": {"eval_loss": 1.5}} if request.kind == "evaluate" else None
        with self.database.transaction() as connection:
            requests.move(
                connection,
                request.id,
                "applied",
                actor="fake",
                before=before or None,
                applied=values or None,
                step=self.step,
                node_id=node.id,
            )
            requests.move(
                connection,
                request.id,
                state if values else "done",
                actor="fake",
                effective={**values, "step": self.step + 1} if values else None,
                result=result,
            )

    def _commit(self, kind: str, changes: tuple[Change, ...], message: str = "") -> Any:
        self.head = self.tree.node(
            self.branch,
            self.step,
            self.head,
            kind=kind,
            changes=changes,
            settings=self.settings,
            message=message,
            values={"loss": self.loss},
            state=zlib.crc32(f"{self.step}:{self.loss}".encode()) if self.is_seeded else None,
        )
        return self.head


def rehearse(text: str, how: str) -> None:
    """End a trial as a training would, without any training."""
    trial, found = Trial.from_text(text), config.load()
    print("fake trial starts", flush=True)
    Path(trial.progress).write_text("3")
    if how == "crash":
        raise RuntimeError("the loss exploded in the trial")
    if how == "sleep":
        time.sleep(60)
    if how not in ("exact", "differs"):
        return
    database = open_database(found)
    with database.transaction() as connection:
        target = nodes.get(connection, trial.target)
        difference = {
            "name": "model/weight",
            "kind": "tensor",
            "expected": "a",
            "found": "b",
            "index": [3],
            "largest": 0.5,
            "tensors_differing": 1,
        }
        certificates.add(
            connection,
            Certificate(
                id=trial.certificate,
                run_id=target.run_id,
                branch_id=target.branch_id,
                from_node_id=trial.start,
                to_node_id=target.id,
                digest=target.state_digest,
                difference=difference if how == "differs" else None,
                untested=[],
                environment={"threads": 1, "device": "cpu"},
                actor="fake",
                created_at=time.time(),
            ),
            target.step,
        )
    database.close()


def main() -> None:
    if CERTIFY_VARIABLE in os.environ:
        rehearse(os.environ[CERTIFY_VARIABLE], os.environ.get("FAKE_TRIAL", ""))
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--crash-at", type=float, default=math.inf)
    parser.add_argument("--leave-open", action="store_true")
    parser.add_argument("--no-taking", action="store_true")
    parser.add_argument("--exit-code", type=int, default=0)
    parser.add_argument("--on-sigterm", action="store_true")
    parser.add_argument("--seeded", action="store_true")
    options = parser.parse_args()
    print("fake training starts", flush=True)
    if options.no_taking:
        return
    training = FakeTraining(options)
    try:
        training.run()
    finally:
        training.database.close()
    sys.exit(options.exit_code)


if __name__ == "__main__":
    main()
