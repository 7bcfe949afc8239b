"""Folders that point a script to its newest node, where it looks for its newest checkpoint.

``get_last_checkpoint(output_dir)`` finds ``checkpoint-N`` by its name alone, and a script that a
queue restarts passes it on as ``resume_from_checkpoint``. Nodes are in the store: the folder only
names one. This module knows no session.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

#: The only file of such a folder.
NAME = "branchtrack.json"


def write(folder: str | os.PathLike[str], step: int, node_id: str) -> None:
    """Write ``checkpoint-STEP`` in a folder to name a node, replacing earlier ones.

    Training does not depend on it: if it cannot be written, there is none.
    """
    target = Path(folder) / f"checkpoint-{step}"
    content = {"node": node_id, "files": f"branchtrack export {node_id} DIR"}
    with suppress(OSError):
        if not target.exists() or is_pointer(target):
            target.mkdir(parents=True, exist_ok=True)
            (target / NAME).write_text(json.dumps(content) + "\n")
        for path in Path(folder).glob("checkpoint-*"):
            if path != target and is_pointer(path):
                shutil.rmtree(path, ignore_errors=True)


def is_pointer(path: str | os.PathLike[str]) -> bool:
    """Return whether a checkpoint folder holds nothing but the name of a node."""
    with suppress(OSError):
        return os.listdir(path) == [NAME]
    return False
