"""The unified difference of files whose texts are known, as people read it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

#: Characters of a difference that are shown.
LONGEST = 200_000


def unified(
    before: Mapping[str, str], after: Mapping[str, str], *, names: tuple[str, str] = ("then", "now")
) -> str:
    """Return the difference of two sets of files by path, empty if all are the same.

    A file that one side lacks is empty there. ``names`` are what the paths begin with. What is
    longer than `LONGEST` is cut and says so.
    """
    pieces: list[str] = []
    for path in sorted({*before, *after}):
        lines = (before.get(path, "").splitlines(True), after.get(path, "").splitlines(True))
        pieces += difflib.unified_diff(*lines, f"{names[0]}/{path}", f"{names[1]}/{path}")
    diff = "".join(line if line.endswith("\n") else f"{line}\n" for line in pieces)
    return diff if len(diff) <= LONGEST else f"{diff[:LONGEST]}\n... the rest is not shown\n"
