"""Whole scripts in processes of their own, and the command line, as a person has them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).parent / "scripts"
ROOT = SCRIPTS.parent.parent.parent


class Shell:
    """A folder with a home in it, in which scripts are trained and commands given."""

    def __init__(self, folder: Path, home: Path | None = None) -> None:
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
        self.variables = {
            **kept,
            "BRANCHTRACK_HOME": str(home or folder / "home"),
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "default",
        }

    def copy(self, script: str, name: str | None = None) -> Path:
        """A script of ``scripts/`` in this folder."""
        target = self.folder / f"{name or script}.py"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SCRIPTS / f"{script}.py", target)
        return target

    def start(self, script: str, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start a script that was copied here."""
        return subprocess.Popen(
            [sys.executable, f"{script}.py", *arguments],
            cwd=self.folder,
            text=True,
            env={**self.variables, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def train(self, script: str, *arguments: str, code: int | None = 0, **variables: str) -> str:
        """Run a script of ``scripts/`` here, to its end; what it printed."""
        if not (self.folder / f"{script}.py").exists():
            self.copy(script)
        with self.start(script, *arguments, **variables) as process:
            printed, _ = process.communicate(timeout=240)
        assert code is None or process.returncode == code, printed[-4000:]
        return printed

    def command(
        self, *arguments: str, code: int | None = 0, prefix: Sequence[str] = (), **variables: str
    ) -> str:
        """A command of branchtrack's, called by ``prefix`` if need be; what it printed."""
        done = subprocess.run(
            [*prefix, sys.executable, "-m", "branchtrack", *arguments],
            cwd=self.folder,
            text=True,
            env={**self.variables, **variables},
            capture_output=True,
            timeout=240,
        )
        printed = done.stdout + done.stderr
        assert code is None or done.returncode == code, printed[-4000:]
        return done.stdout if "--json" in arguments else printed

    def json(self, *arguments: str, code: int | None = 0) -> Any:
        """What a command prints for scripts."""
        return json.loads(self.command(*arguments, "--json", code=code))

    def node(self, run: str, step: int, branch: str = "main") -> str:
        """The id of the last node of a branch at a step."""
        nodes = self.json("tree", run)["nodes"]
        made = [one for one in nodes if (one["step"], one["branch"]) == (step, branch)]
        return str(min(made, key=lambda one: one["created_at"])["id"])

    def resume(self, node: str, name: str, *arguments: str, code: int | None = 0) -> Any:
        """Resume a node in the foreground; the launch as JSON."""
        return self.json("resume", node, "--name", name, *arguments, code=code)

    def same(self, run: str, a: str, b: str, *metrics: str) -> None:
        """Assert that two branches end in equal states and have equal curves."""
        nodes = self.json("tree", run)["nodes"]
        ends = []
        for branch in (a, b):
            own = [one for one in nodes if one["branch"] == branch]
            last = max(own, key=lambda one: (one["step"], one["created_at"]))
            ends.append((last["step"], last["state_digest"]))
        assert ends[0] == ends[1]
        for metric in metrics or ("loss",):
            first, second = (self.json("curve", f"{run}/{one}", metric) for one in (a, b))
            assert first["values"] == second["values"] and first["steps"] == second["steps"], metric
            assert len(set(first["steps"])) == len(first["steps"]) > 0
