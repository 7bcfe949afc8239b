"""The weights alone of a node, loaded into a model that need not be the one that created it.

What fits is loaded; the rest stays as the script made it, and is reported by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from branchtrack.core.builtin_settings import RESIZE
from branchtrack.errors import CheckpointMismatch
from branchtrack.training.state.snapshots import model_tensors

_ROLE = "model/"
#: Names in one part of a record.
_MOST = 40


def take(
    model: torch.nn.Module, tensors: Mapping[str, torch.Tensor], overrides: Mapping[str, Any]
) -> dict[str, str]:
    """Copy what fits into a model; return the outcome, as parts of a node's record.

    ``tensors`` are a node's. With the override ``resize`` the rows that both have are copied if a
    tensor has the same number of dimensions but another size.

    Raises:
        CheckpointMismatch: none of it fits the model.
    """
    current = model_tensors(model)
    recorded = {
        name.removeprefix(_ROLE): tensor
        for name, tensor in tensors.items()
        if name.startswith(_ROLE)
    }
    outcomes: dict[str, list[str]] = {kind: [] for kind in ("taken", "resized", "new", "left")}
    with torch.no_grad():
        for name, tensor in current.items():
            kind = _take(tensor, recorded.get(name), resize=bool(overrides.get(RESIZE.name)))
            text = name if kind == "taken" else f"{name} {_sizes(tensor, recorded.get(name))}"
            outcomes[kind].append(text)
    outcomes["left"] = [name for name in recorded if name not in current]
    if current and not outcomes["taken"] and not outcomes["resized"]:
        raise _nothing_fits(current, recorded)
    return _parts(outcomes, len(current))


def _take(current: torch.Tensor, recorded: torch.Tensor | None, *, resize: bool) -> str:
    if recorded is None or current.dim() != recorded.dim():
        return "new"
    if current.shape == recorded.shape:
        current.copy_(recorded)
        return "taken"
    common = tuple(slice(0, min(a, b)) for a, b in zip(current.shape, recorded.shape, strict=True))
    if not resize or not current[common].numel():
        return "new"
    current[common].copy_(recorded[common])
    return "resized"


def _parts(outcomes: Mapping[str, Sequence[str]], count: int) -> dict[str, str]:
    whole = len(outcomes["taken"]) == count
    parts = {"weights": "restored" if whole else f"{len(outcomes['taken'])} of {count} restored"}
    words = {
        "resized": "weights resized",
        "new": "weights as the script made them",
        "left": "weights that the script has no place for",
    }
    return parts | {words[kind]: _listed(outcomes[kind]) for kind in words if outcomes[kind]}


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more


def _sizes(current: torch.Tensor, recorded: torch.Tensor | None) -> str:
    sizes = "×".join(map(str, current.shape))
    if recorded is None:
        return f"({sizes})"
    return f"({sizes}, in the node {'×'.join(map(str, recorded.shape))})"


def _nothing_fits(
    actual: Mapping[str, torch.Tensor], recorded: Mapping[str, torch.Tensor]
) -> CheckpointMismatch:
    first, other = next(iter(actual)), next(iter(recorded), "nothing")
    alike = any(
        name in recorded and recorded[name].dim() == tensor.dim() for name, tensor in actual.items()
    )
    rows = (
        "Copy the rows that both have with --mode weights --resize, or resume"
        if alike
        else ("Resume")
    )
    return CheckpointMismatch(
        f"None of the node's weights fits the script's model: it has {len(actual)} tensors such as "
        f"{first}, the node {len(recorded)} such as {other}.",
        safe="No training was done.",
        fix=f"{rows} with a script whose model has tensors of the node's names and sizes, or start "
        "a new run.",
        field="weights",
        expected=sorted(recorded),
        found=sorted(actual),
    )
