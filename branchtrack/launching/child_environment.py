"""The environment variables of a launched process, and the report of those that differ.

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
from branchtrack.core.records import Launch
from branchtrack.core.variables import Comparison


def compared(before: Mapping[str, Any] | None, launch: Launch) -> Comparison:
    """Return how this process's environment compares with that of the node's process."""
    order = launch.environment or {}
    return variables.compare(before, os.environ, order.get("given"), keep=bool(order.get("keep")))


def log_differences(comparison: Comparison, config: Config, log: Path) -> None:
    """Write the differences at the beginning of a launch's log."""
    lines = comparison.sentences()
    if lines:
        config.make_home()
        with open(log, "a", encoding="utf-8", opener=permissions.opener(config.home)) as file:
            file.writelines(f"branchtrack: {line}\n" for line in lines)
