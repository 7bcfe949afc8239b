"""The lines by which a launched process logs a refusal of branchtrack, and their reader.

It works on values alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from branchtrack.errors import BranchtrackError

_BEGIN = "branchtrack: refused: "
#: Prefix of the lines of a message, so that its end can be recognised.
_MORE = "    "


def format_refusal(error: BranchtrackError) -> str:
    """Return the lines of the refusal."""
    first, *more = str(error).splitlines() or [type(error).__name__]
    return "".join(f"{line}\n" for line in [_BEGIN + first, *(_MORE + line for line in more)])


def parse_refusal(lines: Sequence[str]) -> str:
    """Return the message of the last refusal among the lines of a log; empty if there is none."""
    starts = [number for number, line in enumerate(lines) if line.startswith(_BEGIN)]
    if not starts:
        return ""
    message = [lines[starts[-1]].removeprefix(_BEGIN)]
    for line in lines[starts[-1] + 1 :]:
        if not line.startswith(_MORE):
            break
        message.append(line.removeprefix(_MORE))
    return "\n".join(message)
