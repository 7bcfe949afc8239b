"""Settings of a model's own parts: its dropout, and which of its parameters train.

Works on a model alone; knows no optimizer and no request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import torch
from torch.nn.modules.dropout import _DropoutNd

from branchtrack.errors import InvalidInput
from branchtrack.training.ranks import models as ranked


def dropouts(model: torch.nn.Module) -> dict[str, _DropoutNd]:
    """Return a model's dropout modules by name; probabilities kept elsewhere are not found."""
    return {
        name: module for name, module in model.named_modules() if isinstance(module, _DropoutNd)
    }


def read_dropout(modules: Sequence[_DropoutNd]) -> float:
    """Return the largest probability of some dropout modules."""
    return max(float(module.p) for module in modules)


def used_dropout(modules: Sequence[_DropoutNd]) -> float:
    """Return the largest probability that they apply; in ``eval()`` they apply none."""
    return max(float(module.p) if module.training else 0.0 for module in modules)


def write_dropout(modules: Sequence[_DropoutNd], value: float) -> None:
    """Give all of them the same probability."""
    for module in modules:
        module.p = value


def dropout_name(path: str) -> str:
    """Return the name of the setting of one dropout module alone."""
    return ".".join(filter(None, ("model", path, "p")))


def read_frozen(model: torch.nn.Module) -> str:
    """Return what does not train: the fewest paths of modules and parameters, sorted, separated by
    commas."""
    return frozen_of(parameters(model))


def frozen_of(parameters: Mapping[str, torch.nn.Parameter]) -> str:
    """Return what `read_frozen` would for a model with these parameters."""
    frozen = {name: not parameter.requires_grad for name, parameter in parameters.items()}
    return _paths(frozen) if any(frozen.values()) else ""


def parameters(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """Return the parameters that can train, by name."""
    # Quantised weights are integers, which never train.
    named = model.named_parameters()
    return {name: p for name, p in named if p.is_floating_point() or p.is_complex()}


def write_frozen(model: torch.nn.Module, text: str) -> None:
    """Freeze exactly the parameters that ``text`` names; see `resolve_frozen`.

    A frozen parameter loses its gradient: an optimizer moves any that has one, even if it is zero.

    Raises:
        InvalidInput: a name that matches nothing, or nothing left that trains.
    """
    frozen = _matching(model, text)
    _check_replicas(model, text, frozen)
    for name, parameter in parameters(model).items():
        parameter.requires_grad_(name not in frozen)
        if name in frozen:
            parameter.grad = None


def resolve_frozen(model: torch.nn.Module, text: str) -> str:
    """Return what `read_frozen` returns once ``text`` has been written.

    ``text``: paths of modules or parameters, or patterns of them (``*``, ``?``, ``[ab]``),
    separated by commas; empty: everything trains.

    Raises:
        InvalidInput: a name that matches nothing, or nothing left that trains.
    """
    frozen = _matching(model, text)
    _check_replicas(model, text, frozen)
    return _paths({name: name in frozen for name in parameters(model)})


def _check_replicas(model: torch.nn.Module, text: str, frozen: set[str]) -> None:
    """Refuse what DistributedDataParallel cannot follow once it has wrapped a model.

    It waits for the gradient of each parameter that it averages, unless it looks for unused ones,
    and never averages others: each process would train its own.
    """
    ids = {id(parameter): name for name, parameter in parameters(model).items()}
    for replicated, replica in ranked.replicas(model):
        for parameter in replicated.parameters():
            name = ids.get(id(parameter))
            if name is None or parameter.requires_grad != (name in frozen):
                continue
            if name in frozen and not replica.finds_unused:
                raise InvalidInput(
                    "frozen",
                    text,
                    "what is frozen already, or a model in "
                    "DistributedDataParallel(..., find_unused_parameters=True)",
                    what=f"{name} cannot be frozen here: DistributedDataParallel waits for its "
                    "gradient.",
                )
            if name not in frozen and id(parameter) not in replica.averaged:
                raise InvalidInput(
                    "frozen",
                    text,
                    f"what leaves {name} frozen, or a script that trains it from the start",
                    what=f"{name} cannot train here: it was frozen when DistributedDataParallel "
                    "took the model, which does not average its gradients.",
                )


def with_frozen(model: torch.nn.Module, text: str, *, frozen: bool) -> str:
    """Return the argument of `write_frozen` that freezes some more, or lets some train again.

    Raises:
        InvalidInput: a name that matches nothing.
    """
    named = _named(model, text)
    now = {name for name, p in parameters(model).items() if not p.requires_grad}
    return ",".join(sorted(now | named if frozen else now - named))


def paths(model: torch.nn.Module, most: int = 5000) -> list[str] | None:
    """Return the paths of parameters and of modules that have any; None if over ``most``."""
    held = [path for path, module in model.named_modules() if path and list(module.parameters())]
    held += list(parameters(model))
    return held if len(held) <= most else None


def _named(model: torch.nn.Module, text: str) -> set[str]:
    names = {id(parameter): name for name, parameter in parameters(model).items()}
    # Under every name of a shared parameter.
    held = {
        path: {names[id(p)] for p in module.parameters() if id(p) in names}
        for path, module in model.named_modules(remove_duplicate=False)
    }
    for path, parameter in model.named_parameters(remove_duplicate=False):
        if id(parameter) in names:
            held[path] = {names[id(parameter)]}
    frozen: set[str] = set()
    for pattern in filter(None, (segment.strip() for segment in text.split(","))):
        matched = set().union(*(held[path] for path in held if path and fnmatchcase(path, pattern)))
        if not matched:
            parts = ", ".join(name for name, _child in model.named_children())
            raise InvalidInput(
                "frozen",
                pattern,
                f"paths or patterns of what has parameters, such as {parts}",
                what=f"frozen: no module and no parameter is named {pattern!r}.",
            )
        frozen |= matched
    return frozen


def _matching(model: torch.nn.Module, text: str) -> set[str]:
    frozen = _named(model, text)
    if frozen and len(frozen) == len(parameters(model)):
        raise InvalidInput(
            "frozen", text, "a part of the model", what="frozen: nothing would be left that trains."
        )
    return frozen


def _paths(frozen: dict[str, bool]) -> str:
    """Return the fewest paths that cover all that is frozen and nothing else."""
    open_paths = {
        path for name, is_frozen in frozen.items() if not is_frozen for path in _above(name)
    }
    frozen_paths = set()
    for name, is_frozen in frozen.items():
        if is_frozen:
            frozen_paths.add(next(path for path in [*_above(name), name] if path not in open_paths))
    return ",".join(sorted(frozen_paths))


def _above(name: str) -> list[str]:
    """Return the paths of the modules that contain a parameter, the outermost first."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]
