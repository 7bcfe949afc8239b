"""The optimizer and the schedule of a stock checkpoint, given their classes and parameters back.

Their files number parameters and name no class. Which parameter a number is follows from the order
of the model and from the groups that a Trainer makes; what does not fit is refused, never guessed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import Adafactor, Trainer

from branchtrack.errors import InvalidInput

_KINDS: tuple[Any, ...] = (
    torch.optim.AdamW,
    torch.optim.Adam,
    torch.optim.SGD,
    torch.optim.Adagrad,
    torch.optim.RMSprop,
    torch.optim.NAdam,
    torch.optim.RAdam,
    torch.optim.Adamax,
    torch.optim.Adadelta,
    # Its other options are those of the file.
    partial(Adafactor, relative_step=False),
)
#: Options that versions of torch have added to groups: an older file lacks them.
_LATER = frozenset(
    "foreach maximize capturable differentiable fused decoupled_weight_decay".split()
)
_NOT_OPTIONS = frozenset(("params", "initial_lr", "param_names"))
#: What only the state of a schedule of a class has.
_SCHEDULES = (
    ("LambdaLR", {"lr_lambdas"}),
    ("ReduceLROnPlateau", {"factor", "patience", "threshold_mode"}),
    ("StepLR", {"step_size", "gamma"}),
    ("MultiStepLR", {"milestones", "gamma"}),
    ("CosineAnnealingLR", {"T_max", "eta_min"}),
    ("ExponentialLR", {"gamma", "base_lrs"}),
)
#: Moments that are smaller than their parameter.
_FACTORED = ("exp_avg_sq_row", "exp_avg_sq_col")


class _Stored:
    """Stands for a schedule whose state is known, not its functions."""

    def __init__(self, state: dict[str, Any]) -> None:
        self._state = state

    def state_dict(self) -> dict[str, Any]:
        return self._state


def rebuild(path: Path, model: torch.nn.Module, state: Mapping[str, Any]) -> Any:
    """Return an optimizer of the model's parameters with a stored state.

    Raises:
        InvalidInput: its class, or which of its tensors belongs to which parameter, is not certain.
    """
    groups, moments = _parts(path, state)
    kind = _kind(groups[0])
    if kind is None:
        raise _refused(path, moments, "they are of an optimizer that is not known")
    names = _assigned(model, groups, moments)
    if names is None:
        raise _refused(path, moments, "its groups are not those that a Trainer makes")
    parameters = dict(model.named_parameters())
    optimizer = kind([{"params": [parameters[n] for n in group]} for group in names], lr=1.0)
    for group, stored in zip(optimizer.param_groups, groups, strict=True):
        kept = group["params"]
        group.clear()
        group.update({**stored, "params": kept})
    for stored, group in zip(groups, names, strict=True):
        for number, name in zip(stored["params"], group, strict=True):
            if number in moments:
                optimizer.state[parameters[name]] = dict(moments[number])
    return optimizer


def schedule(path: Path, state: dict[str, Any]) -> Any:
    """Return what stands for the schedule with a stored state.

    Raises:
        InvalidInput: which class it is of is not certain.
    """
    kind = next((name for name, keys in _SCHEDULES if keys <= state.keys()), None)
    if kind is None:
        raise InvalidInput(
            "folder",
            str(path),
            f"{', '.join(name for name, _ in _SCHEDULES)}, or --weights-only",
            what="scheduler.pt is refused: it is the state of a schedule that is not known.",
        )
    return type(kind, (_Stored,), {})(state)


def _parts(path: Path, state: Mapping[str, Any]) -> tuple[list[dict[str, Any]], dict[int, Any]]:
    """Return the groups and the moments by number."""
    groups, moments = state.get("param_groups"), state.get("state")
    whole = (
        isinstance(groups, list)
        and isinstance(moments, dict)
        and bool(groups)
        and all(isinstance(g, dict) and isinstance(g.get("params"), list) for g in groups)
        and all(isinstance(entry, dict) for entry in moments.values())
        and "lr" in groups[0]
    )
    if not whole or not isinstance(groups, list) or not isinstance(moments, dict):
        raise _refused(path, {}, "it is not the state of one optimizer")
    numbers = [number for group in groups for number in group["params"]]
    if len(set(numbers)) != len(numbers) or not moments.keys() <= set(numbers):
        raise _refused(path, moments, "its groups do not list them once each")
    return groups, moments


def _kind(group: Mapping[str, Any]) -> Any:
    """Return what makes the optimizer whose groups have these options."""
    options = group.keys() - _NOT_OPTIONS
    decoupled = "decoupled_weight_decay"
    older = None
    for kind in _KINDS:
        fresh = kind([torch.nn.Parameter(torch.zeros(1))], lr=1e-3).param_groups[0]
        own = fresh.keys() - _NOT_OPTIONS
        if group.get(decoupled, fresh.get(decoupled)) != fresh.get(decoupled):
            continue
        if options == own:
            return kind
        if older is None and options <= own and own - options <= _LATER:
            older = kind
    return older


def _assigned(
    model: torch.nn.Module, groups: Sequence[Mapping[str, Any]], moments: Mapping[int, Any]
) -> list[list[str]] | None:
    """Return the names of the parameters of each group; None if they are not certain."""
    parameters = dict(model.named_parameters())
    for names in _groupings(model, groups):
        if [len(group) for group in names] != [len(group["params"]) for group in groups]:
            continue
        pairs = [
            (name, moments.get(number, {}))
            for group, stored in zip(names, groups, strict=True)
            for name, number in zip(group, stored["params"], strict=True)
        ]
        if all(
            name in parameters and _fits(entry, parameters[name].shape) for name, entry in pairs
        ):
            return names
    return None


def _groupings(
    model: torch.nn.Module, groups: Sequence[Mapping[str, Any]]
) -> Iterator[list[list[str]]]:
    """Yield the groups that are known: those in the file, a Trainer's own, and a single one."""
    named = [group.get("param_names") for group in groups]
    if all(isinstance(names, list) for names in named):
        yield [[str(name) for name in names or ()] for names in named]
        return
    order = [name for name, _ in model.named_parameters()]
    if len(groups) == 1:
        yield [order]
    elif len(groups) == 2 and not groups[1].get("weight_decay"):
        # The method reads nothing of its Trainer.
        decayed = set(Trainer.get_decay_parameter_names(None, model))  # type: ignore[arg-type]
        yield [[n for n in order if n in decayed], [n for n in order if n not in decayed]]


def _fits(entry: Mapping[str, Any], shape: torch.Size) -> bool:
    for key, value in entry.items():
        if not isinstance(value, torch.Tensor) or value.dim() == 0 or value.shape == shape:
            continue
        if key not in _FACTORED or value.shape not in (shape[:-1], shape[:-2] + shape[-1:]):
            return False
    return True


def _refused(path: Path, moments: Mapping[int, Any], why: str) -> InvalidInput:
    count = sum(
        isinstance(value, torch.Tensor) for entry in moments.values() for value in entry.values()
    )
    return InvalidInput(
        "folder",
        str(path),
        "the state of an optimizer of torch or transformers over all parameters, in the groups "
        "that a Trainer makes or in one; or --weights-only to import the weights alone",
        what=f"optimizer.pt: its {count} tensors cannot be assigned to parameters: {why}.",
    )
