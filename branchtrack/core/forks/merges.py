"""Merges: which weights may be averaged, how the order reaches its process, the wording.

This module knows no process, database or torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from branchtrack.errors import InvalidInput

#: Shares of the two parents unless others are asked for.
DEFAULT_WEIGHTS = (0.5, 0.5)
#: What the sum of the shares may differ from 1 by.
_TOLERANCE = 1e-6
_ALLOWED = "two numbers from 0 to 1 whose sum is 1, for example 0.5,0.5"

#: Bytes of an element of each dtype that is averaged.
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}

#: A tensor of a manifest: name, dtype, shape, digest.
Entry = Sequence[Any]


@dataclass(frozen=True)
class Merge:
    """The order to commit the average of two nodes' weights as a new branch.

    ``branch`` is the id that the branch gets; ``name`` is its name, None for a free one. ``a`` and
    ``b`` are the nodes, in the order of ``weights``. ``watcher`` is the process that waits for it.
    """

    branch: str
    a: str
    b: str
    weights: tuple[float, float]
    actor: str
    name: str | None = None
    message: str = ""
    watcher: int = 0

    def to_text(self) -> str:
        """Return the form for the environment variable."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Merge:
        """Return the merge that `to_text` wrote."""
        values = json.loads(text)
        return cls(**{**values, "weights": tuple(values["weights"])})


def parse_weights(text: str) -> tuple[float, float]:
    """Return the shares that ``0.5,0.5`` spells.

    Raises:
        InvalidInput: they are not two numbers from 0 to 1 whose sum is 1.
    """
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        raise InvalidInput("weights", text, _ALLOWED) from None
    is_valid = (
        len(numbers) == 2
        and all(math.isfinite(number) and 0 <= number <= 1 for number in numbers)
        and abs(sum(numbers) - 1) <= _TOLERANCE
    )
    if not is_valid:
        raise InvalidInput("weights", text, _ALLOWED)
    return numbers[0], numbers[1]


def is_averaged(dtype: str) -> bool:
    """Return whether tensors of a dtype (safetensors spelling) are averaged: those of floats."""
    return dtype.startswith(("F", "BF"))


def difference(a: Sequence[Entry], b: Sequence[Entry]) -> str:
    """Describe the first difference that keeps two models from being merged; empty if none does."""
    of_b = {entry[0]: entry for entry in b}
    for name, dtype, shape, _digest in a:
        other = of_b.get(name)
        if other is None:
            return f"A has the tensor {shown(name)}, and B does not."
        if list(shape) != list(other[2]):
            return f"{shown(name)} is {_sizes(shape)} in A and {_sizes(other[2])} in B."
        if dtype != other[1]:
            return f"{shown(name)} is {dtype} in A and {other[1]} in B."
    of_a = {entry[0] for entry in a}
    added = next((name for name in of_b if name not in of_a), None)
    return f"B has the tensor {shown(added)}, and A does not." if added else ""


def taken_from_a(a: Sequence[Entry], b: Sequence[Entry]) -> list[str]:
    """Return the names of the tensors that differ and are not averaged: A's are taken."""
    digests = {entry[0]: entry[3] for entry in b}
    return [
        name
        for name, dtype, _shape, digest in a
        if digests.get(name) != digest and not is_averaged(dtype)
    ]


def averaged(a: Sequence[Entry], b: Sequence[Entry]) -> list[str]:
    """Return the names of the tensors that differ and are averaged."""
    digests = {entry[0]: entry[3] for entry in b}
    return [
        name
        for name, dtype, _shape, digest in a
        if digests.get(name) != digest and is_averaged(dtype)
    ]


def nbytes(entries: Sequence[Entry], names: Sequence[str]) -> int:
    """Return the bytes of some tensors of a manifest, by their names."""
    chosen = set(names)
    return sum(
        math.prod(shape) * _BYTES.get(dtype, 1)
        for name, dtype, shape, _digest in entries
        if name in chosen
    )


def message(a: str, b: str, weights: Sequence[float], reason: str = "") -> str:
    """Return the message of a merge; ``a`` and ``b`` are its parents as BRANCH@STEP."""
    words = f"Merge of {a} and {b}, weights {weights[0]:g}, {weights[1]:g}"
    return f"{words}: {reason}" if reason else words


def restored(a: str, b: str, weights: Sequence[float], unaveraged: Sequence[str]) -> dict[str, str]:
    """Return what a merge records of each part of its state; ``unaveraged`` are tensors of A."""
    parts = {"weights": f"{weights[0]:g} of node {a} + {weights[1]:g} of node {b}"}
    if unaveraged:
        more = f" and {len(unaveraged) - 20} more" if len(unaveraged) > 20 else ""
        names = ", ".join(map(shown, unaveraged[:20]))
        parts["other tensors"] = f"of node {a}: {names}{more}"
    return parts | dict.fromkeys(("optimizer", "scheduler", "rng", "data position"), "reset")


def state_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a state that describe its model, not its training."""
    described = ("modules", "model_config", "aliases", "export", "transient")
    return {name: state[name] for name in described if name in state}


def free_branch(taken: set[str]) -> str:
    """Return ``merge-1``, or the first such name that is not taken."""
    number = 1
    while f"merge-{number}" in taken:
        number += 1
    return f"merge-{number}"


def shown(name: str) -> str:
    """Return the name of a tensor without its role."""
    return name.removeprefix("model/")


def _sizes(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "a single value"
