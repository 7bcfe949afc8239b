"""The process that imports a checkpoint folder: it reads it, and records it unless only asked.

    python -m branchtrack.training.imports.process < request.json

The request has ``folder name weights_only dry_run home database_url actor``; the answer is the last
line on standard output, with ``error`` or what was imported.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from branchtrack import config
from branchtrack.checkpoints.location import open_store
from branchtrack.core.names import valid_name
from branchtrack.core.nonfinite import spelled
from branchtrack.db.schema import open_database
from branchtrack.error_payload import error_payload
from branchtrack.errors import BranchtrackError

_CHECKPOINT = re.compile(r"checkpoint-\d+")


def run_name(folder: Path) -> str:
    """Return the name that a run gets without another: that of a Trainer's own output folder."""
    folder = folder.resolve()
    of_trainer = _CHECKPOINT.fullmatch(folder.name) and folder.parent.name
    return of_trainer or folder.name or "run"


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """Import what a request names; return what was imported, or would be.

    Raises:
        BranchtrackError: nothing was recorded.
    """
    from branchtrack.training.imports import folder, recording, states

    path = Path(request["folder"]).resolve()
    contents = folder.read(path, weights_only=request["weights_only"])
    state = states.of(contents)
    snapshot = state.snapshot
    logged = recording.points(contents)
    facts = {
        "folder": str(path),
        "step": contents.step,
        "mode": "exact" if state.is_complete else "weights",
        "tensors": len(snapshot.tensors),
        "bytes": sum(t.numel() * t.element_size() for t in snapshot.tensors.values()),
        "settings": state.settings,
        "points": len(logged),
        "metrics": sorted({name for name, *_ in logged}),
        "left_out": contents.left_out,
        "dry_run": request["dry_run"],
    }
    name = run_name(path) if request["name"] is None else valid_name(request["name"])
    if request["dry_run"]:
        return {**facts, "run": name, "branch": None, "node": None, "state_digest": None}
    settings = config.load(request["home"], request["database_url"])
    database = open_database(settings)
    try:
        store = open_store(settings.store)
        recorded = recording.record(
            database,
            store,
            contents,
            state,
            name,
            request["actor"],
            number_if_taken=request["name"] is None,
        )
    finally:
        database.close()
    return {
        **facts,
        "run": recorded.run.name,
        "branch": recorded.run.default_branch,
        "node": recorded.node.id,
        "state_digest": recorded.node.state_digest,
        "new_bytes": recorded.new_bytes,
    }


def main() -> int:
    """Answer the request on standard input; errors are answers, too."""
    # Nothing is looked up elsewhere, whatever a configuration names.
    os.environ.update({"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"})
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    try:
        done = {"error": None, **answer(json.loads(sys.stdin.read()))}
    except BranchtrackError as error:
        done = {"error": error_payload(error)}
    print(json.dumps(spelled(done)))
    return 0 if done["error"] is None else 1


if __name__ == "__main__":
    sys.exit(main())
