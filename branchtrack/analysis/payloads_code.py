"""What ran when a node was made, as plain JSON values; see `payloads`."""

from __future__ import annotations

import shlex
from typing import Any

from sqlalchemy import Connection

from branchtrack.core.records import Node
from branchtrack.db import segments
from branchtrack.db.storage import texts
from branchtrack.errors import NotFound


def code(connection: Connection, node: Node) -> dict[str, Any] | None:
    """Return what ran in the last process on the way to a node; None if it was not recorded.

    ``diff`` is the uncommitted difference as text, None if there was none or it was not recorded;
    ``packages`` are all that were installed, ``imported`` the versions of those that were used.
    """
    recorded = segments.code_before(connection, node.id)
    if recorded is None:
        return None
    facts = {name: recorded.get(name) for name in ("cwd", "python", "commit", "branch")}
    return {
        "command": shlex.join(recorded.get("command") or ()),
        **facts,
        "seeds": recorded.get("seeds") or {},
        "diff": _text(connection, recorded.get("diff")),
        "diff_bytes": recorded.get("diff_bytes"),
        "diff_cut": bool(recorded.get("diff_cut")),
        "untracked": recorded.get("untracked") or [],
        "untracked_count": recorded.get("untracked_count") or 0,
        "jobs": recorded.get("jobs") or {},
        "imported": recorded.get("imported") or {},
        "packages": (_text(connection, recorded.get("packages")) or "").split(),
        "sources": sorted(recorded.get("sources") or {}),
    }


def _text(connection: Connection, digest: str | None) -> str | None:
    if digest is None:
        return None
    try:
        return texts.get(connection, digest)
    except NotFound:
        return None
