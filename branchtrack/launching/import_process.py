"""The import of a checkpoint folder, in a process that may load torch.

It knows no tensor; see `training.imports.process` for what that process does.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from branchtrack import errors
from branchtrack.config import Config
from branchtrack.errors import BranchtrackError, InvalidInput

_MODULE = "branchtrack.training.imports.process"


def run(
    config: Config,
    folder: Path,
    *,
    name: str | None,
    weights_only: bool,
    dry_run: bool,
    actor: str,
) -> dict[str, Any]:
    """Import a folder, or with ``dry_run`` read it only; return what was imported.

    The result has ``run branch node step mode tensors bytes left_out`` and more, see
    `training.imports.process.answer`.

    Raises:
        InvalidInput: the folder cannot be imported; nothing was recorded.
        BranchtrackError: the database or the disk failed, or the process ended; nothing is listed.
    """
    request = {
        "folder": str(folder),
        "name": name,
        "weights_only": weights_only,
        "dry_run": dry_run,
        "home": str(config.home),
        "database_url": config.database_url,
        "actor": actor,
    }
    done = subprocess.run(
        [sys.executable, "-m", _MODULE], input=json.dumps(request), capture_output=True, text=True
    )
    try:
        answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        error = answer.pop("error")
    except (IndexError, ValueError, KeyError, TypeError, AttributeError):
        error, answer = None, {}
    if error is not None:
        raise _error(error)
    if done.returncode or not answer:
        last = (done.stderr.strip().splitlines() or ["it ended without a message"])[-1]
        raise BranchtrackError(
            f"The process that imports {folder} ended with code {done.returncode}: {last}.",
            safe="No run was recorded.",
            fix="Try again; if it was killed for its memory, on a machine with more.",
        )
    return answer


def _error(payload: dict[str, Any]) -> BranchtrackError:
    """Return an error of the process again; what is wrong with the input stays that."""
    kind = getattr(errors, payload["type"], BranchtrackError)
    facts = payload["facts"]
    if kind is InvalidInput:
        return InvalidInput(facts["field"], facts["value"], facts["allowed"], what=payload["what"])
    # Each class makes its sentences from facts of its own; here they are made already.
    error: BranchtrackError = kind.__new__(kind)
    BranchtrackError.__init__(
        error, payload["what"], safe=payload["safe"], fix=payload["fix"], **facts
    )
    return error
