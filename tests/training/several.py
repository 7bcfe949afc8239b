"""Real trainings by several processes: torchrun or accelerate with gloo, as a person starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

#: Seconds after which a training that should have ended is taken for hung.
LIMIT = 300
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node")
ACCELERATE = (
    *("accelerate.commands.launch", "--multi_gpu", "--num_machines", "1"),
    *("--mixed_precision", "no", "--dynamo_backend", "no", "--num_processes"),
)


def started(
    *command: str,
    processes: int = 2,
    folder: Path | None = None,
    variables: Mapping[str, str] | None = None,
    launcher: Sequence[str] = TORCHRUN,
) -> subprocess.Popen[str]:
    """Start a script, or ``-m`` and a module, in several processes of one group."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **(variables or {})}
    return subprocess.Popen(
        [sys.executable, "-m", *launcher, str(processes), *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def output(process: subprocess.Popen[str]) -> str:
    """Return all that a training has printed, once it has ended."""
    try:
        return process.communicate(timeout=LIMIT)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        raise AssertionError(f"It hangs: {process.communicate()[0][-4000:]}") from None


def result(*arguments: str, processes: int = 2, launcher: Sequence[str] = TORCHRUN) -> Any:
    """Return what `ranked_scripts` prints for some arguments."""
    script = ("-m", "tests.training.ranked_scripts", *arguments)
    process = started(*script, processes=processes, launcher=launcher)
    text = output(process)
    lines = [line for line in text.split("\n") if line.startswith("RESULT ")]
    assert process.returncode == 0 and lines, text[-6000:]
    return json.loads(lines[-1].removeprefix("RESULT "))
