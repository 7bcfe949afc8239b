"""The second half of an export, which needs torch and runs in a process that may load it.

It knows no node; see `training.export.stock_trainer` for what that process does.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from branchtrack.core.nonfinite import packed
from branchtrack.errors import CheckpointMismatch

_MODULE = "branchtrack.training.export.stock_trainer"


def needs_completion(state: Mapping[str, Any]) -> bool:
    """Return whether the files must open in libraries other than torch."""
    loop = state.get("loop")
    is_trainer = isinstance(loop, Mapping) and "trainer" in loop
    return is_trainer or "model_config" in state or "export" in state


def complete(folder: Path, facts: Mapping[str, Any]) -> list[Path]:
    """Add the formats of other libraries to an export, open it, and return all its files.

    Raises:
        CheckpointMismatch: it does not open with the same values; no file is left.
    """
    done = subprocess.run(
        [sys.executable, "-m", _MODULE, str(folder)],
        input=json.dumps(packed(facts)),
        capture_output=True,
        text=True,
    )
    try:
        why = json.loads(done.stdout.strip().splitlines()[-1])["error"]
    except (IndexError, ValueError, KeyError, TypeError):
        why = (done.stderr.strip().splitlines() or ["it ended without a message"])[-1]
    if why is None and done.returncode == 0:
        return sorted(path for path in folder.rglob("*") if path.is_file())
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    raise CheckpointMismatch(
        f"The export cannot be opened again: {why}.",
        safe="Nothing was left in the folder; the node is untouched.",
        fix="Export only the weights and the state with --raw.",
        field="target",
        expected="a model that other libraries open",
        found=why,
    )
