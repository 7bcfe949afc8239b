"""Fresh weights for a part of a model, and an optimizer without state of the old ones."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

import torch

from branchtrack.errors import InvalidInput
from branchtrack.training.settings.live import Live


def reset(live: Live, text: str) -> dict[str, Any]:
    """Initialise the modules that ``text`` names; return ``modules`` and ``parameters``.

    ``text``: paths or patterns of modules, separated by commas. Each module under one of them does
    what it does when it is created: the model's own initialisation (``_init_weights`` of
    transformers), or its ``reset_parameters``. The random numbers are training's own.

    Raises:
        InvalidInput: a name that no module has, or a parameter that nothing can initialise:
            nothing was changed then.
    """
    chosen = _chosen(live.model, text)
    init_weights = getattr(live.model, "_init_weights", None)
    work = [
        (m, _initialiser(m, init_weights)) for m in chosen.values() if list(m.parameters(False))
    ]
    missing = [m for m, do in work if do is None]
    if not work or missing:
        names = [name for name, module in chosen.items() if module in missing]
        raise InvalidInput(
            "modules",
            ", ".join(names) or text,
            "modules with reset_parameters()",
            what="These modules have no initialisation of their own.",
        )
    parameters = {id(p): p for module, _ in work for p in module.parameters(recurse=False)}
    with torch.no_grad():
        for _, do in work:
            if do is not None:
                do()
    for optimizer_objects in live.parts.values():
        optimizer = getattr(optimizer_objects.optimizer, "optimizer", optimizer_objects.optimizer)
        for parameter in parameters.values():
            optimizer.state.pop(parameter, None)
    count = sum(p.numel() for p in parameters.values())
    return {"modules": sorted(chosen), "parameters": count}


def _chosen(model: torch.nn.Module, text: str) -> dict[str, torch.nn.Module]:
    """Return the modules under the paths that match the patterns, by path."""
    every = dict(model.named_modules())
    modules: dict[str, torch.nn.Module] = {}
    for pattern in filter(None, (segment.strip() for segment in text.split(","))):
        hits = [path for path in every if path and fnmatchcase(path, pattern)]
        if not hits:
            tops = ", ".join(name for name, _ in model.named_children())
            raise InvalidInput(
                "modules",
                pattern,
                f"paths or patterns of modules, such as {tops}",
                what=f"No module is named {pattern!r}.",
            )
        for hit in hits:
            modules |= {p: m for p, m in every.items() if p == hit or p.startswith(f"{hit}.")}
    return modules


def _initialiser(module: torch.nn.Module, init_weights: Any) -> Callable[[], None] | None:
    plain = getattr(module, "reset_parameters", None)
    if plain is None and init_weights is None:
        return None

    def initialise() -> None:
        if plain is not None:
            plain()
        if init_weights is not None:
            for parameter in module.parameters(recurse=False):
                # transformers skips what it has loaded.
                parameter.__dict__.pop("_is_hf_initialized", None)
            init_weights(module)

    return initialise
