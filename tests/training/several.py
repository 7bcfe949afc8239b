"""Real trainings by several processes: torchrun with gloo, as a person starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: Seconds after which a training that should have ended is taken for hung.
LIMIT = 300


def torchrun(
    *command: str,
    processes: int = 2,
    folder: Path | None = None,
    variables: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """Start a script, or ``-m`` and a module, in several processes of one group."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **(variables or {})}
    return subprocess.Popen(
        [*launcher, "--nproc-per-node", str(processes), *command],
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


def result(*arguments: str, processes: int = 2) -> Any:
    """Return what `ranked_scripts` prints for some arguments."""
    process = torchrun("-m", "tests.training.ranked_scripts", *arguments, processes=processes)
    text = output(process)
    lines = [line for line in text.split("\n") if line.startswith("RESULT ")]
    assert process.returncode == 0 and lines, text[-6000:]
    return json.loads(lines[-1].removeprefix("RESULT "))
