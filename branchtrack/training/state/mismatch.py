"""What a script has compared with what a node has: equal, or an error that names both."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from branchtrack.core.builtin_settings import ACCEPT
from branchtrack.core.names import near
from branchtrack.core.nonfinite import packed
from branchtrack.errors import CheckpointMismatch, InvalidInput

#: The option for a difference that the script itself settles.
ACCEPTED = "--accept"
_MOST = 5


def must_match(field: str, current: Any, recorded: Any) -> None:
    """Refuse a script whose ``field`` is not the node's.

    Raises:
        CheckpointMismatch: with what each of them has.
    """
    if current != recorded:
        raise CheckpointMismatch(
            f"{field[0].upper()}{field[1:]} in the script does not fit the node: "
            f"the script has {_short(current, recorded)}, the node {_short(recorded, current)}.",
            safe="No training was done.",
            fix="Resume with the script that created the node, or load only the weights that fit: "
            "--mode weights.",
            field=field,
            expected=recorded,
            found=current,
        )


def equal(current: Any, recorded: Any) -> bool:
    """Return whether two plain values of records are equal; NaN is NaN, a tuple is its list."""
    return bool(packed(current) == packed(recorded))


def quoted(value: Any) -> str:
    """Return a value as a shell takes it after ``NAME=``."""
    text = str(value)
    return text if set(text).isdisjoint(" ()[]{}<>*?&|;$'\"") else shlex.quote(text)


def accepted(declared: Mapping[str, Any], *records: Mapping[str, Any]) -> set[str]:
    """Return the names of differences that were declared to be intended.

    Raises:
        InvalidInput: one that is in none of the records of what scripts request.
    """
    names = {name.strip() for name in str(declared.get(ACCEPT.name) or "").split(",")} - {""}
    recorded = {name for record in records for name in record}
    for name in sorted(names - recorded):
        near_ones = ", ".join(near(name, recorded)) or "those that a refusal names"
        raise InvalidInput(
            ACCEPT.name, name, near_ones, what=f"No difference of a script is named {name!r}."
        )
    return names


@dataclass(frozen=True)
class Difference:
    """What a script requests (``actual``) and what the node's own script did (``expected``).

    ``in_force`` describes what the node has. ``option`` declares the change at a resume; without
    one only the weights can be loaded.
    """

    name: str
    actual: Any
    expected: Any
    in_force: str = ""
    option: str = ""


def refuse(differences: Sequence[Difference], accepted: Collection[str]) -> None:
    """Refuse a script for what differs, with the one command that declares all of it.

    ``accepted`` are names that were declared to be intended already.

    Raises:
        CheckpointMismatch: there are any.
    """
    if not differences:
        return
    first, *others = differences
    also = ", ".join(difference.name for difference in others[:_MOST])
    also += f" and {len(others) - _MOST} more" if len(others) > _MOST else ""
    raise CheckpointMismatch(
        f"{first.name} is {first.actual!r} in the script and was {first.expected!r} in the script "
        f"that created the node{first.in_force}." + (f" Also different: {also}." if also else ""),
        safe="No training was done.",
        fix=f"Put {first.name} back to {first.expected!r} in the script, or "
        f"{_way(differences, accepted)}.",
        field=first.name,
        expected=first.expected,
        found=first.actual,
    )


def _way(differences: Sequence[Difference], accepted: Collection[str]) -> str:
    if not all(difference.option for difference in differences):
        of_model = any(difference.name.startswith("model.config") for difference in differences)
        sizes = " (--resize for the rows that both have)" if of_model else ""
        return f"load only the weights that fit: --mode weights{sizes}"
    names = {difference.name for difference in differences if difference.option == ACCEPTED} | set(
        accepted
    )
    options = dict.fromkeys(
        difference.option for difference in differences if difference.option != ACCEPTED
    )
    if names:
        options[f"{ACCEPTED} {','.join(sorted(names))}"] = None
    return f"declare the change: {' '.join(options)}"


def _short(value: Any, other: Any) -> str:
    if isinstance(value, list) and isinstance(other, list):
        only: Iterable[Any] = [item for item in value if item not in other]
        text = ", ".join(str(item) for item in only)
        return f"{len(value)} with {text[:200]}" if text else f"{len(value)}"
    return repr(value)
