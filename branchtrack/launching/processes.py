"""A recorded command started as several processes of one training, by torch's own launcher."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from branchtrack.core.builtin_settings import WORLD_SIZE


def before(
    settings: Mapping[str, Any], entry_point: Mapping[str, Any] | None, *, alone: bool = False
) -> tuple[str, ...]:
    """Return the words before a recorded command whose script forms a process group.

    ``settings`` are those that the training begins with; without a group there are none. The
    command itself stays as it was recorded, with all its options. ``alone``: a group of one.
    """
    size = settings.get(WORLD_SIZE.name)
    if size is None:
        return ()
    recorded = (entry_point or {}).get("argv") or [""]
    python = recorded[0] if os.access(recorded[0], os.X_OK) else sys.executable
    launcher = (python, "-m", "torch.distributed.run", "--standalone")
    return (*launcher, "--nproc-per-node", "1" if alone else str(size), "--no-python")
