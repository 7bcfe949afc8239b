"""Sixteen checkpoints in four branches: bytes against those of a stock Trainer, and rebuilding.

    python -m tests.benchmarks.bench_retention

The example `text` (a GPT-2 with AdamW) trains 40 steps with a checkpoint every 10, and three forks
of its root do the same with other rates. A stock Trainer writes the same checkpoints once, which
counts four times. Every branch is certified, the run is thinned, and every node that has only its
recipe left is rebuilt: its digest must be the recorded one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BRANCHES = ("text", "text/lr-1e-3", "text/lr-2e-3", "text/lr-4e-3")
_STEPS, _EVERY = 40, 10
#: The same training without branchtrack.
_STOCK = """
import runpy, sys
import branchtrack
branchtrack.make_branching = lambda trainer: trainer
sys.argv[0] = "text"
runpy.run_module("branchtrack.examples.text", run_name="__main__")
"""


@dataclass
class Result:
    """Bytes of 16 stock checkpoints, and of the run with ``keep=all`` and thinned.

    ``rebuilt`` are the updates that each rebuild took.
    """

    stock: int
    whole: int
    thin: int
    rebuilt: list[int]


def measure() -> Result:
    """Train, thin and rebuild in a folder of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script = folder / "stock.py"
        script.write_text(_STOCK)
        training = ["--steps", str(_STEPS), "--every", str(_EVERY)]
        _run(folder, str(script), *training, "--output", str(folder / "stock"))
        _run(folder, "-m", "branchtrack.examples.text", *training)
        _command(folder, "resume", "text@0", "--set", "lr=1e-3,2e-3,4e-3")
        for branch in BRANCHES:
            _command(folder, "certify", branch)
        whole = _command(folder, "storage")["stored_bytes"]
        _command(folder, "gc", "text", "--keep", "thin")
        thin = _command(folder, "storage")["stored_bytes"]
        listed = _command(folder, "tree", "text")["nodes"]
        assert not [node for node in listed if node["thinned"] == "weights"], "not certified"
        recipes = [node["id"] for node in listed if node["thinned"] == "recipe"]
        rebuilt = [_command(folder, "rebuild", node)["updates"] for node in recipes]
        assert all(node["durable"] for node in _command(folder, "tree", "text")["nodes"])
        stock = _bytes(folder / "stock") * len(BRANCHES)
        return Result(stock, whole, thin, rebuilt)


def _bytes(folder: Path) -> int:
    files = (path for path in folder.glob("checkpoint-*/**/*") if path.is_file())
    return sum(path.stat().st_size for path in files)


def _command(folder: Path, *words: str) -> Any:
    return json.loads(_run(folder, "-m", "branchtrack", *words, "--json"))


def _run(folder: Path, *words: str) -> str:
    environment = {**os.environ, "BRANCHTRACK_HOME": str(folder / "home")}
    done = subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, cwd=folder
    )
    assert done.returncode == 0, f"{words}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def main() -> None:
    """Measure and print."""
    result = measure()
    for name in ("stock", "whole", "thin"):
        nbytes = getattr(result, name)
        print(f"{name:6} {nbytes / 1e6:8.1f} MB  {nbytes / result.stock:5.1%}")
    print("updates of each rebuild:", *result.rebuilt)


if __name__ == "__main__":
    main()
