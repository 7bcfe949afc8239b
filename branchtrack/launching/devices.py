"""What one of several slots of a worker gets of the machine: a GPU, and a share of the threads.

GPUs are found without torch. It must not know the database.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

DEVICES = "CUDA_VISIBLE_DEVICES"
#: Any of these sets the number of threads of a training.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
#: Any of these says what threads do that have nothing to do. By default OpenMP's spin on a core, so
#: that two trainings with as many threads as there are cores take 40 times as long as one.
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
_UUID = re.compile(r"\(UUID: ((GPU|MIG)-[^)\s]+)\)")
#: Seconds for the driver's own program, which may hang with its driver.
_PATIENCE = 20.0


def visible(environ: Mapping[str, str]) -> list[str]:
    """Return the GPUs that a process with these variables may use, as CUDA names them.

    They are those of ``CUDA_VISIBLE_DEVICES`` if it is set, else all that ``nvidia-smi`` lists, by
    UUID: CUDA counts them in another order than the driver does.
    """
    chosen = environ.get(DEVICES)
    if chosen is None:
        return _listed(environ)
    names = [name.strip() for name in chosen.split(",")]
    # CUDA takes no device after the first that it does not know, such as -1.
    end = next((i for i, name in enumerate(names) if not name or name == "-1"), len(names))
    return names[:end]


def least_used(devices: Sequence[str], in_use: Iterable[str]) -> str | None:
    """Return the first of the devices that the fewest launches have; None if there is none."""
    counts = Counter(in_use)
    return min(devices, key=lambda name: counts[name], default=None)


def share_of_threads(slots: int) -> int:
    """Return how many threads each of ``slots`` trainings gets if all train at once."""
    return max(1, _cores() // slots)


def _cores() -> int:
    # Not all cores of the machine may be this process's.
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def _listed(environ: Mapping[str, str]) -> list[str]:
    try:
        done = subprocess.run(
            ["nvidia-smi", "-L"],
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            env=dict(environ),
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    found = _UUID.findall(done.stdout) if done.returncode == 0 else []
    # Of a GPU that is divided, only the parts can be used; they follow it in the list.
    return [
        name
        for (name, kind), (_next, next_kind) in pairwise([*found, ("", "")])
        if kind == "MIG" or next_kind != "MIG"
    ]
