"""What a script has compared with what a node has: equal, or an error that names both."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from branchtrack.core.nonfinite import packed
from branchtrack.errors import CheckpointMismatch


def must_match(field: str, mine: Any, theirs: Any) -> None:
    """Refuse a script whose ``field`` is not the node's.

    Raises:
        CheckpointMismatch: with what each of them has.
    """
    if mine != theirs:
        raise CheckpointMismatch(
            f"{field[0].upper()}{field[1:]} in the script does not fit the node: "
            f"the script has {_short(mine, theirs)}, the node {_short(theirs, mine)}.",
            safe="No training was done.",
            fix="Resume with the script that made the node, or resume another node.",
            field=field,
            expected=theirs,
            found=mine,
        )


def equal(mine: Any, theirs: Any) -> bool:
    """Whether two plain values of records are one; NaN is NaN, and a tuple is its list."""
    return bool(packed(mine) == packed(theirs))


def another_script(
    name: str, found: Any, expected: Any, in_force: str, way: str
) -> CheckpointMismatch:
    """That a script asks for something else than the one that made the node, with the ways out.

    ``in_force`` follows what was asked for, ``way`` is the way out beside putting it back.
    """
    return CheckpointMismatch(
        f"{name} is {found!r} in the script and was {expected!r} in the script that made the "
        f"node{in_force}.",
        safe="No training was done.",
        fix=f"Put {name} back to {expected!r} in the script, or {way}.",
        field=name,
        expected=expected,
        found=found,
    )


def _short(value: Any, other: Any) -> str:
    if isinstance(value, list) and isinstance(other, list):
        only: Iterable[Any] = [item for item in value if item not in other]
        text = ", ".join(str(item) for item in only)
        return f"{len(value)} with {text[:200]}" if text else f"{len(value)}"
    return repr(value)
