"""The steps of `branchtrack demo`, which a user could take with the other commands.

It uses the same channel and the same launches; everything it prints is read from the database, and
only the three learning rates are fixed. It must not know the terminal.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection

from branchtrack import control, permissions
from branchtrack.analysis import payloads, payloads_nodes, payloads_requests
from branchtrack.cli.context import CommandLine
from branchtrack.cli.launch_progress import launch_lines, show_launch
from branchtrack.cli.progress import bar
from branchtrack.cli.request_options import SUCCESS, answer_lines
from branchtrack.core import formats
from branchtrack.core.records import Branch, Launch, Request, Segment
from branchtrack.db import metrics, nodes, requests, runs, segments
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches
from branchtrack.environment_variables import LAUNCH_VARIABLE
from branchtrack.errors import LaunchFailed, RequestFailed
from branchtrack.launching import local_process

#: The learning rate that is too high, the one that corrects it, and that of the second branch.
TOO_HIGH, LOWER, COOLER = 0.02, 0.004, 0.002
_LOOK = 0.2
_PATIENCE = 120.0


class Demonstration:
    """One demonstration, and the facts about the run that it creates."""

    def __init__(
        self, line: CommandLine, database: Database, steps: int, say: Callable[[str], None]
    ) -> None:
        self.line, self.database, self.steps, self.say = line, database, steps, say
        self.started = time.time()
        self.log = line.config.logs / f"demo-{int(self.started * 1000)}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def run(self) -> dict[str, Any]:
        """Train, intervene, continue, and resume an earlier node; return the results.

        Raises:
            LaunchFailed: a training died.
            RequestFailed, NotAnswered, NotLive: the change of the learning rate did not take
            effect.
        """
        with self._first_process() as process:
            branch, ref = self._wait_for_run(process)
            self._watch(process, branch, ref, upto=self.steps * 2 // 5)
            request = self._intervene(branch, ref)
            self._watch(process, branch, ref, upto=None)
        launch = self._resume_earlier(branch)
        with self.database.read() as connection:
            run = runs.get_run(connection, branch.run_id)
            tree = payloads.tree(connection, run)
            return {
                "run": run.name,
                "intervention": payloads_requests.request(requests.get(connection, request.id)),
                "resume": payloads_requests.launch(connection, launches.get(connection, launch.id)),
                "branches": [
                    _outcome(connection, run_branch, tree)
                    for run_branch in runs.list_branches(connection, run.id)
                ],
                "tree": tree,
            }

    @contextmanager
    def _first_process(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run the example as a process of its own, which ends with the block in any case."""
        config = self.line.config
        command = [
            sys.executable,
            "-m",
            "branchtrack.examples.text",
            "--name",
            "demo",
            "--steps",
            str(self.steps),
            "--lr",
            str(TOO_HIGH),
            "--every",
            str(max(1, self.steps // 15)),
            "--output",
            str(config.home / "trainer_output"),
        ]
        environment = {**os.environ, **config.environment()}
        environment.pop(LAUNCH_VARIABLE, None)
        with open(self.log, "wb", opener=permissions.opener(config.home)) as log:
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            with process:
                try:
                    yield process
                finally:
                    _end(process)
        finally:
            self._close_segment(process)

    def _close_segment(self, process: subprocess.Popen[bytes]) -> None:
        """Close the segment that a dead process left open."""
        with self.database.transaction() as connection:
            segment = segments.of_process(connection, process.pid, self.started)
            if segment is not None:
                why, actor = local_process.ending(process.returncode), control.local_actor()
                control.expire_unanswered(connection, segment.id, actor, why)
                segments.end(connection, segment.id, "failed", actor=actor, error=why)

    def _wait_for_run(self, process: subprocess.Popen[bytes]) -> tuple[Branch, str]:
        """Return the branch of the first process, once it has begun, and the branch's full name."""
        self.say(f"Training a small GPT-2 on the text of Python's documentation. Log: {self.log}")
        with bar("starting") as update:
            while True:
                update(0, None, f"{time.time() - self.started:.0f} s")
                with self.database.read() as connection:
                    segment = segments.of_process(connection, process.pid, self.started)
                    if segment is not None:
                        branch = runs.get_branch(connection, segment.branch_id)
                        run = runs.get_run(connection, segment.run_id)
                        return branch, f"{run.name}/{branch.name}"
                if process.poll() is not None:
                    raise self._died(process)
                time.sleep(_LOOK)

    def _watch(
        self, process: subprocess.Popen[bytes], branch: Branch, ref: str, upto: int | None
    ) -> None:
        """Show the progress until step ``upto``, or until the process ends if that is None."""
        with bar(ref) as update:
            while True:
                ended = process.poll() is not None
                segment, loss = self._progress(branch)
                note = f"of {segment.max_steps} steps, loss {formats.metric(loss)}"
                update(segment.step, segment.max_steps, note)
                if ended and (upto is not None or segment.status != "finished"):
                    raise self._died(process)
                if ended or (upto is not None and segment.step >= upto):
                    return
                time.sleep(_LOOK)

    def _progress(self, branch: Branch) -> tuple[Segment, float | None]:
        with self.database.read() as connection:
            segment = segments.get(connection, branch.segment_id or "")
            last = metrics.last_values(connection, [segment.id])[segment.id]
        return segment, last.get("loss")

    def _intervene(self, branch: Branch, ref: str) -> Request:
        """Lower the learning rate through the channel, and print the proof."""
        segment, loss = self._progress(branch)
        reason = (
            f"loss {formats.metric(loss)} at step {segment.step}: the learning rate is too high"
        )
        self.say(f'\nbranchtrack set {ref} lr={LOWER} --reason "{reason}"')
        request = control.submit(
            self.database,
            ref,
            {"kind": "set", "values": {"lr": str(LOWER)}},
            actor=control.local_actor(),
            reason=reason,
        )
        request = control.wait(self.database, request.id, _PATIENCE)
        self.say("\n".join(answer_lines(payloads_requests.request(request))))
        if request.state not in SUCCESS:
            raise RequestFailed(
                f"The change of the learning rate is {request.state}.",
                fix=f"The log is {self.log}.",
                request=request.id,
                state=request.state,
            )
        return request

    def _resume_earlier(self, branch: Branch) -> Launch:
        """Resume the first checkpoint, in a new process, as another branch."""
        with self.database.read() as connection:
            run_nodes = nodes.list_of_run(connection, branch.run_id)
        node = next(node for node in reversed(run_nodes) if node.kind == "checkpoint")
        self.say(
            f"\nbranchtrack resume {node.id[:8]} --set lr={COOLER} --name cooler"
            f"    (the node at step {node.step})"
        )
        launch = control.create_launch(
            self.database,
            self.line.store,
            node.id,
            actor=control.local_actor(),
            name="cooler",
            settings={"lr": str(COOLER)},
            reason="what if it had been lower from early on?",
        )
        launch = show_launch(self.line, self.database, launch, quiet=True)
        with self.database.read() as connection:
            self.say("\n".join(launch_lines(payloads_requests.launch(connection, launch))))
        if launch.state != "ended":
            raise LaunchFailed(
                f"The second branch did not train to its end. {launch.error or ''}".strip(),
                fix=f"The log is {launch.log}.",
                launch=launch.id,
                exit_code=launch.exit_code,
                log=launch.log,
            )
        return launch

    def _died(self, process: subprocess.Popen[bytes]) -> LaunchFailed:
        words = local_process.reason_in_log(self.log)
        fast = "It was too fast to be steered: try more --steps. " if not process.returncode else ""
        return LaunchFailed(
            f"The training ended early. {local_process.ending(process.returncode)} {words}".strip(),
            safe="The nodes that it committed can be resumed.",
            fix=f"{fast}The whole log is {self.log}.",
            launch=None,
            exit_code=process.returncode,
            log=str(self.log),
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Wait briefly (Ctrl-C reached the process too, and it closes its records), then end it."""
    for order in (process.terminate, process.kill):
        try:
            process.wait(10.0)
            return
        except subprocess.TimeoutExpired:
            order()


def _outcome(connection: Connection, branch: Branch, tree: dict[str, Any]) -> dict[str, Any]:
    """Return a branch's last losses, and the changes of its own nodes."""
    last = {}
    for metric in ("loss", "eval_loss"):
        values = payloads_nodes.curve(connection, branch, metric)["values"]
        last[metric] = next((value for value in reversed(values) if math.isfinite(value)), None)
    changed = [
        {"step": node["step"], "changes": node["changes"]}
        for node in tree["nodes"]
        if node["branch"] == branch.name and node["changes"]
    ]
    return {"name": branch.name, **last, "changed": changed}
