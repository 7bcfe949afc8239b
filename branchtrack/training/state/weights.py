"""The weights alone of a node given to a model that need not be the one that made it.

What fits is taken; the rest stays as the script made it, and is told by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from branchtrack.core.settings import RESIZE
from branchtrack.errors import CheckpointMismatch
from branchtrack.training.state.snapshots import model_tensors

_ROLE = "model/"
#: Names in one part of a record.
_MOST = 40


def take(
    model: torch.nn.Module, tensors: Mapping[str, torch.Tensor], overrides: Mapping[str, Any]
) -> dict[str, str]:
    """Copy what fits into a model; returns what became of it, as parts of a node's record.

    ``tensors`` are a node's. With the override ``resize`` the rows that both have are copied where
    a tensor has as many dimensions but another size.

    Raises:
        CheckpointMismatch: nothing of it fits the model.
    """
    mine = model_tensors(model)
    theirs = {
        name.removeprefix(_ROLE): tensor
        for name, tensor in tensors.items()
        if name.startswith(_ROLE)
    }
    found: dict[str, list[str]] = {kind: [] for kind in ("taken", "resized", "new", "left")}
    with torch.no_grad():
        for name, tensor in mine.items():
            kind = _take(tensor, theirs.get(name), resize=bool(overrides.get(RESIZE.name)))
            text = name if kind == "taken" else f"{name} {_sizes(tensor, theirs.get(name))}"
            found[kind].append(text)
    found["left"] = [name for name in theirs if name not in mine]
    if mine and not found["taken"] and not found["resized"]:
        raise _nothing_fits(mine, theirs)
    return _parts(found, len(mine))


def _take(mine: torch.Tensor, theirs: torch.Tensor | None, *, resize: bool) -> str:
    if theirs is None or mine.dim() != theirs.dim():
        return "new"
    if mine.shape == theirs.shape:
        mine.copy_(theirs)
        return "taken"
    common = tuple(slice(0, min(a, b)) for a, b in zip(mine.shape, theirs.shape, strict=True))
    if not resize or not mine[common].numel():
        return "new"
    mine[common].copy_(theirs[common])
    return "resized"


def _parts(found: Mapping[str, Sequence[str]], count: int) -> dict[str, str]:
    whole = len(found["taken"]) == count
    parts = {"weights": "restored" if whole else f"{len(found['taken'])} of {count} restored"}
    words = {
        "resized": "weights resized",
        "new": "weights as the script made them",
        "left": "weights that the script has no place for",
    }
    return parts | {words[kind]: _listed(found[kind]) for kind in words if found[kind]}


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more


def _sizes(mine: torch.Tensor, theirs: torch.Tensor | None) -> str:
    sizes = "×".join(map(str, mine.shape))
    if theirs is None:
        return f"({sizes})"
    return f"({sizes}, in the node {'×'.join(map(str, theirs.shape))})"


def _nothing_fits(
    mine: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor]
) -> CheckpointMismatch:
    first, other = next(iter(mine)), next(iter(theirs), "nothing")
    alike = any(name in theirs and theirs[name].dim() == one.dim() for name, one in mine.items())
    rows = (
        "Take the rows that both have with --mode weights --resize, or resume"
        if alike
        else ("Resume")
    )
    return CheckpointMismatch(
        f"None of the node's weights fits the script's model: it has {len(mine)} tensors such as "
        f"{first}, the node {len(theirs)} such as {other}.",
        safe="No training was done.",
        fix=f"{rows} with a script whose model has tensors of the node's names and sizes, or start "
        "a new run.",
        field="weights",
        expected=sorted(theirs),
        found=sorted(mine),
    )
