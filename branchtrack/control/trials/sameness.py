"""Whether all trainings of a trial ran the same code: else their difference is not the change's.

Each process has recorded what it ran, which is what counts: files may change after it was queued.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from branchtrack.core.trials.records import DIVERGED, DONE, Pair, Spec
from branchtrack.db import segments


def changed_code(connection: Connection, spec: Spec, pairs: Sequence[Pair]) -> str:
    """Return in a sentence what changed between the trainings of a trial; empty if nothing did.

    If the trial checks its code, the training that led to its nodes counts, too.
    """
    done = [
        side.branch_id
        for pair in pairs
        for side in pair.sides
        if side is not None and side.state in (DONE, DIVERGED)
    ]
    codes = [*segments.codes_of_branches(connection, done).values()]
    if spec.checks_code and (before := segments.code_before(connection, spec.nodes[0])):
        codes.insert(0, before)
    names = sorted({name for code in codes[1:] for name in _differing(codes[0], code)})
    if not names:
        return ""
    return f"{', '.join(names)} changed while it trained: its pairs cannot be compared."


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    """Yield the files and packages that both have, and not the same."""
    files, others = one.get("sources") or {}, other.get("sources") or {}
    yield from (path for path in files if others.get(path, files[path]) != files[path])
    if one.get("executable") != other.get("executable"):
        return
    packages, others = one.get("imported") or {}, other.get("imported") or {}
    # As a resume: another branchtrack goes on from what this one has written.
    names = packages.keys() - {"branchtrack"}
    yield from (name for name in names if others.get(name, packages[name]) != packages[name])
