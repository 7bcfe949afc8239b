"""Whether a node would be continued by other code or packages than those that trained it.

It compares what is on this machine with what the node's process recorded. It starts nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from branchtrack import scripts
from branchtrack.core.records import Node
from branchtrack.db import runs, segments
from branchtrack.db.storage import text_differences, texts
from branchtrack.errors import CodeChanged, NotFound


def check(connection: Connection, node: Node, entry_point: Mapping[str, Any] | None) -> None:
    """Refuse a node whose script, own modules or imported packages have changed since.

    ``entry_point`` is the command to start, None for the run's own. What this machine does not
    have, and packages of another interpreter than this one, are not compared.

    Raises:
        CodeChanged: with the difference.
    """
    command = entry_point or runs.get_run(connection, node.run_id).entry_point
    files = _changed_files(connection, node, command)
    code = segments.code_before(connection, node.id) or {}
    packages = _changed_packages(code)
    if files or packages:
        diff = _difference(connection, command, code.get("sources") or {}, files)
        raise CodeChanged(node.id[:8], files, packages, diff)


def _changed_files(
    connection: Connection, node: Node, command: Mapping[str, Any] | None
) -> list[str]:
    """Return the script and modules that have changed, by their paths from the script's folder."""
    script = scripts.script_of(command)
    if script is None:
        return []
    before = segments.environment_before(connection, node.id) or {}
    changed = scripts.changed_modules(command, before.get("modules"))
    if scripts.has_changed(command, node.environment):
        return [script.name, *changed]
    return changed


def _changed_packages(code: Mapping[str, Any]) -> list[str]:
    """Return ``name 1.0 -> 1.1`` for each imported package whose version is another one here."""
    executable = code.get("executable")
    if not executable or os.path.realpath(executable) != os.path.realpath(sys.executable):
        return []
    # A newer branchtrack continues what an older one recorded.
    imported = {n: v for n, v in (code.get("imported") or {}).items() if n != "branchtrack"}
    pairs = ((name, then, _version(name)) for name, then in imported.items())
    return [f"{name} {then} -> {now or 'gone'}" for name, then, now in pairs if now != then]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _difference(
    connection: Connection,
    command: Mapping[str, Any] | None,
    sources: Mapping[str, str],
    files: list[str],
) -> str:
    """Return the unified difference of those files whose earlier text was recorded."""
    folder = scripts.folder_of(scripts.script_of(command))
    if folder is None:
        return ""
    then: dict[str, str] = {}
    for path in sources.keys() & set(files):
        with suppress(NotFound):
            then[path] = texts.get(connection, sources[path])
    return text_differences.unified(then, {path: _text(folder / path) for path in then})


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
