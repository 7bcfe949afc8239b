"""The environment variables of a launched process, and the report of those that differ.

With several slots a process also gets a GPU and a number of threads. That number is the one its
node was trained with, wherever it is known: with another one, sums are made in another order, and
the training would not be the one that continues the node bit for bit.

It must not know the queue.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from branchtrack import permissions
from branchtrack.config import Config
from branchtrack.core import variables
from branchtrack.core.records import Launch, Node
from branchtrack.core.variables import Comparison
from branchtrack.launching import devices


def compared(before: Mapping[str, Any] | None, launch: Launch) -> Comparison:
    """Return how this process's environment compares with that of the node's process."""
    order = launch.environment or {}
    return variables.compare(before, os.environ, order.get("given"), keep=bool(order.get("keep")))


def of_slot(
    node: Node,
    recorded: Mapping[str, str],
    comparison: Comparison,
    *,
    slots: int,
    device: str | None,
) -> dict[str, str]:
    """Return the variables that a process gets because ``slots`` train at once.

    ``recorded`` are the variables of the command that the process is given back. What is set there,
    in this process's environment or by the one who ordered the launch stays as it is; only a device
    is assigned anew, unless it was chosen for this launch.
    """
    assigned: dict[str, str] = {}
    if device is not None and devices.DEVICES not in comparison.assigned:
        assigned[devices.DEVICES] = device
    is_set = {*os.environ, *recorded, *comparison.variables}
    if slots > 1 and is_set.isdisjoint(devices.THREADS):
        threads = node.environment.get("threads") or devices.share_of_threads(slots)
        assigned[devices.THREADS[0]] = str(threads)
    if slots > 1 and is_set.isdisjoint(devices.WAITING):
        # It changes no result, only what else the cores can do.
        assigned[devices.WAITING[0]] = "PASSIVE"
    return assigned


def log_differences(comparison: Comparison, config: Config, log: Path) -> None:
    """Write the differences at the beginning of a launch's log."""
    lines = comparison.sentences()
    if lines:
        config.make_home()
        with open(log, "a", encoding="utf-8", opener=permissions.opener(config.home)) as file:
            file.writelines(f"branchtrack: {line}\n" for line in lines)
