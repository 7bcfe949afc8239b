"""Whether the command of a run can be started on this machine, and what to do if it cannot.

It starts nothing, and knows no worker.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from branchtrack import redaction, scripts
from branchtrack.core.records import Node
from branchtrack.db import runs, segments
from branchtrack.errors import LaunchFailed


def describe_missing(entry_point: Mapping[str, Any] | None) -> str:
    """Say in a sentence what a run's command lacks on this machine; empty if it lacks nothing."""
    argv = list((entry_point or {}).get("argv") or ())
    if entry_point is None:
        return (
            "The run recorded no command that could start it: it was imported, and no script has "
            "trained it since."
        )
    if not argv:
        return (
            "The run recorded no command that could start it again "
            "(it was trained in an interactive session)."
        )
    if secrets := redaction.missing(argv):
        return (
            f"The command that made the run has secrets in it, which are not recorded: "
            f"{', '.join(secrets)}."
        )
    folder = Path(str((entry_point or {}).get("cwd") or "."))
    if not folder.is_dir():
        return f"The folder {folder} in which the run was trained is gone."
    script = folder / argv[1] if len(argv) > 1 else folder
    if script.suffix == ".py" and not script.is_file():
        return f"The script {script} that trained the run is gone."
    return ""


def describe_way_to_start(entry_point: Mapping[str, Any] | None, node: str) -> str:
    """Say in a sentence how to continue from a node whose command cannot be started."""
    if redaction.missing((entry_point or {}).get("argv") or ()):
        return (
            "Have the script take them from environment variables, which a resume inherits, and "
            f'start it by hand with `branchtrack.start(..., resume="{node}")` or '
            f'`trainer.train(resume_from_node="{node}")`.'
        )
    resume = f"`branchtrack resume {node}"
    if (entry_point or {}).get("argv"):
        return f"Say where they are now: {resume} --script PATH --cwd DIR`."
    return (
        "Resume it where its objects are: "
        f'branchtrack.start(..., resume="{node}", set={{...}}), or '
        f'trainer.train(resume_from_node="{node}", set={{...}}); '
        f"or with a script that makes them: {resume} --script PATH`."
    )


def startable(
    connection: Connection, node: Node, home: Path | None, entry_point: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """Return the command to start if it differs from the recorded one, else None.

    Raises:
        LaunchFailed: there is no command that can be started here.
    """
    recorded = runs.get_run(connection, node.run_id).entry_point
    command = recorded if entry_point is None else dict(entry_point)
    if entry_point is None and home is not None:
        command = scripts.relocated(recorded, home)
    # Files of another machine are for the worker there to find.
    here = segments.get(connection, node.segment_id).host in (None, socket.gethostname())
    has_command = bool((command or {}).get("argv"))
    gone = describe_missing(command) if here or entry_point or not has_command else ""
    if gone:
        raise LaunchFailed(
            gone,
            safe="Nothing was changed.",
            fix=describe_way_to_start(command, node.id),
            launch=None,
            exit_code=None,
            log=None,
        )
    return None if command == recorded else command
