"""A tree's life among kill -9 and SIGTERM: trainers, a worker and a server die at random moments.

``python -m tests.benchmarks.life_of_a_tree --kills 50 --terms 50 --seed 1``. What dies is brought
back as a user would; in the end everything that is listed has to be whole. Exits with 1 if not.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from branchtrack import config, control, trust
from branchtrack.analysis import curves
from branchtrack.checkpoints.location import open_store
from branchtrack.core import lifecycle
from branchtrack.core.records import Launch, Segment
from branchtrack.db import audit, integrity, nodes, runs, segments
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches
from branchtrack.db.schema import open_database
from branchtrack.db.views import run_list
from branchtrack.errors import BranchtrackError

SCRIPT = """
import sys, time, torch, branchtrack
torch.manual_seed(0)
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
rows = torch.utils.data.TensorDataset(torch.randn(64, 4), torch.randn(64, 1))
data = torch.utils.data.DataLoader(rows, batch_size=8, shuffle=True)
run = branchtrack.start(
    "life", model=model, optimizer=optimizer, data=data, max_steps=5000, save_steps=25
)
for x, y in run.batches():
    loss = ((model(x) - y) ** 2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    run.log(loss=loss)
    time.sleep(0.01)
    if run.step():
        break
run.finish()
"""
#: Trainings that should be going on at any time, and branches of the tree at most.
TRAINING, BRANCHES = 2, 8
#: Seconds that a dead worker's launches may be left alone.
ADOPTED_WITHIN = 15.0
_START_SECONDS = 60.0


@dataclass
class Life:
    """A home, the processes around it, and what was seen so far."""

    folder: Path
    chance: random.Random
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    adoptions: list[float] = field(default_factory=list)
    ended_by_term: list[str] = field(default_factory=list)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.config = config.load(self.folder / "home")
        self.database: Database = open_database(self.config, create=True)
        self.store = open_store(self.config.store)
        trust.mark(self.config)
        (self.folder / "train.py").write_text(SCRIPT)

    def start(self, name: str, *command: str) -> None:
        """Start a process of that name, unless it lives."""
        process = self.processes.get(name)
        if process is not None and process.poll() is None:
            return
        with open(self.folder / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, *command],
                cwd=self.folder,
                env={**os.environ, **self.config.environment(), "OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def keep_alive(self) -> None:
        """Bring back the server and the worker."""
        server = ("-m", "branchtrack", "serve", "--port", "0", "--no-token", "--slots", "2")
        self.start("server", *server)
        self.start("worker", "-m", "branchtrack", "worker", "--slots", "2")

    def live(self) -> list[Segment]:
        """The segments that a process trains."""
        now = time.time()
        with self.database.read() as connection:
            current = segments.current(connection, lifecycle.LIVE)
        return [row for row in current if lifecycle.segment_status(row, now) in lifecycle.LIVE]

    def order_more(self) -> None:
        """Have another branch train: continue one that nothing trains, or fork."""
        with self.database.read() as connection:
            run = runs.find_run(connection, "life")
            branches = runs.list_branches(connection, run.id)
            waiting = [row for row in launches.unfinished(connection) if row.state != "running"]
            ids = nodes.list_ids(connection)
        if not ids or len(waiting) + len(self.live()) >= TRAINING:
            return
        with suppress(BranchtrackError):
            if len(branches) < BRANCHES and self.chance.random() < 0.5:
                order = control.ForkOrder([self.chance.choice(ids)], {"lr": "x0.9"})
                control.create_launches(self.database, self.store, order, actor="life")
                self.counts["forks"] += 1
            else:
                name = f"life/{self.chance.choice(branches).name}"
                control.continue_branch(self.database, self.store, name, actor="life", retries=1)
                self.counts["continued"] += 1

    def steer(self) -> None:
        """Ask a live branch for something."""
        payloads: list[dict[str, Any]] = [
            {"kind": "set", "values": {"lr": self.chance.choice([0.01, 0.02])}},
            {"kind": "checkpoint"},
            {"kind": "pause", "free": True},
        ]
        with self.database.read() as connection:
            run = runs.find_run(connection, "life")
            branch = self.chance.choice(runs.list_branches(connection, run.id))
        with suppress(BranchtrackError):
            payload = self.chance.choice(payloads)
            control.submit(self.database, f"life/{branch.name}", payload, actor="life")
            self.counts["requests"] += 1

    def kill(self) -> bool:
        """Kill a trainer, the worker or the server with SIGKILL."""
        victim = self.chance.choice(["trainer", "trainer", "worker", "server"])
        if victim == "trainer":
            return self._signal_trainer(signal.SIGKILL) is not None
        process = self.processes[victim]
        with self.database.read() as connection:
            own = [row for row in launches.unfinished(connection) if _is_of(row, process.pid)]
        process.kill()
        process.wait()
        self.counts[f"killed {victim}"] += 1
        self._watch_adoption(own, time.monotonic())
        return True

    def terminate(self) -> bool:
        """Send SIGTERM to a trainer."""
        segment = self._signal_trainer(signal.SIGTERM)
        if segment is None:
            return False
        self.ended_by_term.append(segment.id)
        return True

    def _signal_trainer(self, number: signal.Signals) -> Segment | None:
        live = [row for row in self.live() if row.pid is not None]
        if not live:
            return None
        segment = self.chance.choice(live)
        try:
            os.kill(segment.pid or 0, number)
        except ProcessLookupError:
            return None
        self.counts[f"{number.name} to trainer"] += 1
        return segment

    def _watch_adoption(self, own: list[Launch], since: float) -> None:
        """Wait until the launches of a dead worker are another's, or have ended."""
        self.keep_alive()
        while own and time.monotonic() - since < 2 * ADOPTED_WITHIN:
            with self.database.read() as connection:
                now = [launches.get(connection, row.id) for row in own]
            own = [a for a, b in zip(own, now, strict=True) if _is_untouched(a, b)]
            time.sleep(0.1)
        self.adoptions.append(time.monotonic() - since)
        if own:
            self.faults.append(f"launch {own[0].id} of a dead worker was left alone")

    def end(self) -> None:
        """End the server and the worker as a user does, and then what they had not begun."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(120)

    def judge(self) -> None:
        """Add what is not as it has to be to the faults."""
        deadline = time.monotonic() + _START_SECONDS
        while self.live() and time.monotonic() < deadline:
            time.sleep(0.2)
        with self.database.read() as connection:
            left = [row for row in launches.unfinished(connection) if row.state != "queued"]
            self.faults += [f"launch {row.id} is {row.state} for ever" for row in left]
            self.faults += [str(problem) for problem in integrity.of_database(connection)]
            tree = [summary.run for summary in run_list.find_runs(connection)]
            for run in tree:
                if audit.first_broken_seq(connection, run.id) is not None:
                    self.faults.append(f"the chain of {run.name} is broken")
                for branch in runs.list_branches(connection, run.id):
                    steps = curves.branch_curve(connection, branch, "loss").series.steps.tolist()
                    if steps != list(range(1, len(steps) + 1)):
                        self.faults.append(f"the curve of {run.name}/{branch.name} is wrong")
            ids = nodes.list_ids(connection)
            for segment_id in self.ended_by_term:
                self._judge_term(connection, segment_id)
        for node_id in ids:
            try:
                with self.database.read() as connection:
                    node = nodes.get(connection, node_id)
                control.verify_node(self.database, self.store, node)
            except BranchtrackError as error:
                self.faults.append(f"node {node_id}: {error}")
        self.counts["nodes"] = len(ids)

    def _judge_term(self, connection: Any, segment_id: str) -> None:
        """Check that the signal left a node at its step or the next."""
        segment = segments.get(connection, segment_id)
        received = [
            event
            for event in audit.newest(connection, segment.run_id, 1_000_000)
            if (event.kind, event.ref) == ("signal", segment_id)
        ]
        steps = [
            node.step
            for node in nodes.of_branch(connection, segment.branch_id)
            if node.segment_id == segment_id
        ]
        if not received:
            # It was killed, or had ended, before it could answer.
            self.counts["terms unanswered"] += 1
            if segment.status not in ("failed", "running"):
                self.counts["terms of ended trainings"] += 1
            return
        at = received[0].step or 0
        if segment.status == "failed":
            self.counts["terms followed by a kill"] += 1
        elif not {at, at + 1} & set(steps):
            self.faults.append(f"SIGTERM at step {at} left nodes at {steps[-3:]} alone")
        else:
            self.counts["terms with their node"] += 1


def _is_of(launch: Launch, pid: int) -> bool:
    return launch.worker is not None and launch.worker.split(":")[1:2] == [str(pid)]


def _is_untouched(before: Launch, now: Launch) -> bool:
    return now.worker == before.worker and now.state not in lifecycle.LAUNCH_ENDS


def live_through(life: Life, kills: int, terms: int) -> None:
    """Kill and terminate that often, with a pause of random length between."""
    life.start("trainer", "train.py")
    life.keep_alive()
    deadline = time.monotonic() + _START_SECONDS
    while not life.live():
        if time.monotonic() > deadline:
            raise RuntimeError("The first training did not begin.")
        time.sleep(0.1)
    while kills or terms:
        life.keep_alive()
        life.order_more()
        if life.chance.random() < 0.3:
            life.steer()
        time.sleep(life.chance.uniform(0.05, 1.5))
        if terms and (not kills or life.chance.random() < 0.5):
            terms -= life.terminate()
        elif kills:
            kills -= life.kill()


def main(arguments: list[str] | None = None) -> int:
    """Live through it, print what was seen, and return 1 if something was wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--terms", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        life = Life(Path(folder), random.Random(options.seed))
        try:
            live_through(life, options.kills, options.terms)
        finally:
            life.end()
        life.judge()
    report = {
        **life.counts,
        "slowest adoption, s": round(max(life.adoptions, default=0.0), 1),
        "seconds": round(time.monotonic() - began),
        "faults": life.faults,
    }
    print(json.dumps(report, indent=1))
    return 1 if life.faults else 0


if __name__ == "__main__":
    sys.exit(main())
