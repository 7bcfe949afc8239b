"""The loop: a baseline, then experiments that each continue its warm node with a changed script.

Everything is asked of the shell, as any agent could. Nothing is deleted: what is discarded, and
what failed, stays a branch with the script that made it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import Any

from branchtrack.examples.autoresearch.proposals import Agent, Proposal

TRAIN = Path(__file__).with_name("train.py")
RUN, STEPS, WARM = "autoresearch", 200, 100
#: What an experiment may not change. With weights alone a script counts from the warm node on.
_BUDGET = 'NAME, STEPS, WARM = "autoresearch", 200, 100'
_REST = 'NAME, STEPS, WARM = "autoresearch", 100, 100'
#: How much lower a loss has to be for its script to be kept.
_LEAST_GAIN = 1e-3


@dataclass(frozen=True)
class Experiment:
    """What came of a proposal; ``verdict`` is keep, discard, failed or refused.

    ``mode`` says what it began with: ``exact`` (the whole state) or ``weights``.
    """

    name: str
    idea: str
    verdict: str
    mode: str = ""
    eval_loss: float | None = None
    node: str = ""

    def line(self) -> str:
        """Return it as a row of the table."""
        loss = "-" if self.eval_loss is None else f"{self.eval_loss:.4f}"
        cells = f"{self.name:<8} {self.verdict:<8} {self.mode:<8} {loss:>8}"
        return f"{cells}  {self.node[:8]:<8}  {self.idea}"


class Laboratory:
    """The folder of an investigation: its home, and a folder with each experiment's script."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.experiments: list[Experiment] = []
        self.script = TRAIN.read_text(encoding="utf-8")
        self._warm = ""

    @property
    def best(self) -> float:
        """The lowest loss of what was kept."""
        return min(e.eval_loss for e in self.experiments if e.verdict == "keep" and e.eval_loss)

    @property
    def table(self) -> str:
        """All experiments so far, one a line."""
        header = f"{'':8} {'verdict':<8} {'begins':<8} {'loss':>8}  {'node':<8}  idea"
        return "\n".join([header, *(experiment.line() for experiment in self.experiments)])

    def train_baseline(self) -> Experiment:
        """Train the script as it is, from step 0; its node at step 100 is the warm one.

        Raises:
            RuntimeError: it failed.
        """
        path = self._write("baseline", self.script)
        command = [sys.executable, path.name]
        done = subprocess.run(
            command, cwd=path.parent, env=self._environment(), capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"The baseline failed:\n{done.stderr[-2000:]}")
        self._warm = self._call("show", f"{RUN}@{WARM}")["id"]
        return self._concluded(Experiment("main", "baseline", "keep", "step 0"))

    def experiment(self, proposal: Proposal) -> Experiment:
        """Continue the warm node with a changed script, and keep the script if it is better."""
        name = f"exp-{len(self.experiments)}"
        try:
            script = proposal.applied(self.script)
            if _BUDGET not in script:
                raise ValueError("NAME, STEPS and WARM stay as they are")
        except ValueError as error:
            return self._noted(Experiment(name, f"{proposal.idea} ({error})", "refused"))
        for mode, line in (("exact", _BUDGET), ("weights", _REST)):
            path = self._write(name, script.replace(_BUDGET, line))
            answer = self._call(
                "resume", self._warm, "--script", str(path), "--allow-code-change",
                "--name", name, "--mode", mode, "--reason", proposal.idea,
            )  # fmt: skip
            if self._exists(name):
                return self._judged(Experiment(name, proposal.idea, "failed", mode), script)
        refusal = answer.get("error") or {}
        what = refusal.get("what", "") if isinstance(refusal, dict) else str(refusal)
        return self._noted(Experiment(name, f"{proposal.idea} ({what[:100]})", "refused"))

    def _judged(self, experiment: Experiment, script: str) -> Experiment:
        """Return an experiment with its loss and verdict; its last node is tagged with that."""
        branch = self._branch(experiment.name)
        # Losses are comparable after equally many steps alone.
        if branch["status"] == "finished" and branch["step"] == STEPS:
            best = self.best
            experiment = self._measured(experiment)
            better = experiment.eval_loss is not None and experiment.eval_loss < best - _LEAST_GAIN
            verdict = "keep" if better else "discard"
            experiment = Experiment(**{**vars(experiment), "verdict": verdict})
            self.script = script if better else self.script
        return self._noted(experiment)

    def _concluded(self, experiment: Experiment) -> Experiment:
        return self._noted(self._measured(experiment))

    def _measured(self, experiment: Experiment) -> Experiment:
        node = self._call("show", f"{RUN}/{experiment.name}")
        facts = {"eval_loss": node["metrics"].get("eval_loss"), "node": node["id"]}
        return Experiment(**{**vars(experiment), **facts})

    def _noted(self, experiment: Experiment) -> Experiment:
        self.experiments.append(experiment)
        if experiment.node:
            self._call("tag", experiment.node, experiment.verdict)
        return experiment

    def _write(self, name: str, script: str) -> Path:
        """Write the script of an experiment, and its difference from the best one."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        before, after = (text.splitlines(keepends=True) for text in (self.script, script))
        difference = unified_diff(before, after, "best/train.py", f"{name}/train.py")
        (folder / "change.diff").write_text("".join(difference), encoding="utf-8")
        path = folder / "train.py"
        path.write_text(script, encoding="utf-8")
        return path

    def _branch(self, name: str) -> dict[str, Any]:
        branches = self._call("tree", RUN)["branches"]
        return next((branch for branch in branches if branch["name"] == name), {})

    def _exists(self, name: str) -> bool:
        return bool(self._branch(name))

    def _call(self, *arguments: str) -> dict[str, Any]:
        """Return the JSON that a command prints, also that of an error."""
        command = [sys.executable, "-m", "branchtrack", *arguments, "--json"]
        done = subprocess.run(command, env=self._environment(), capture_output=True, text=True)
        try:
            answer = json.loads(done.stdout)
        except ValueError:
            raise RuntimeError(f"branchtrack {arguments[0]}: {done.stderr[-2000:]}") from None
        return answer if isinstance(answer, dict) else {"items": answer}

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "BRANCHTRACK_HOME": str(self.folder / "home")}


def investigate(laboratory: Laboratory, agent: Agent, experiments: int) -> Sequence[Experiment]:
    """Train the baseline, try as many proposals, and print each result when it is there."""
    print(laboratory.train_baseline().line(), flush=True)
    for _number in range(experiments):
        try:
            proposal = agent.propose(laboratory.script, laboratory.table)
        except (OSError, ValueError) as error:
            print(f"no proposal: {error}", flush=True)
            continue
        if proposal is None:
            break
        print(laboratory.experiment(proposal).line(), flush=True)
    return laboratory.experiments
