"""Whether optimizers can continue with other options and the state that they have.

An option may determine what the state consists of: RMSprop created without momentum has no buffer
for it, and its next step would end the training. So old and new options are each tried first in a
step on the side. This module knows no setting and no request, only the names to blame.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from branchtrack.errors import InvalidInput
from branchtrack.training import rng
from branchtrack.training.settings import shadow_step
from branchtrack.training.settings.live import Live
from branchtrack.training.settings.shadow_step import Options, Sample

logger = logging.getLogger("branchtrack")

#: The options of each group of one optimizer.
Told = Sequence[Mapping[str, Any]]


class _Trial(Sample):
    """The smallest parameter of each kind of state in some groups, with zero gradients."""

    def __init__(self, optimizer: Any, groups: Sequence[int]) -> None:
        super().__init__(optimizer, ())
        for index in groups:
            for parameter in _smallest(optimizer, optimizer.param_groups[index]["params"]):
                # Deep, since a step may change in place what a list in the state holds.
                state = copy.deepcopy(dict(optimizer.state[parameter]))
                value = parameter.detach().clone()
                self._kept.append((index, parameter, value, torch.zeros_like(value), state))

    def error(self, options: Told) -> Exception | None:
        """Return what a step with these options raises; None if it succeeds or has no state."""
        try:
            if self._kept:
                self._step(options)
        except Exception as error:
            return error
        return None


def check(live: Live, before: Options, values: Mapping[str, Any]) -> None:
    """Check that each optimizer can step with its present options as it could with ``before``.

    ``values`` are the settings written since, by name. Nothing is concluded about an optimizer that
    cannot be stepped on the side with either options.

    Raises:
        InvalidInput: naming what does not fit the state.
    """
    after = shadow_step.options(live)
    for prefix, groups in shadow_step.changed_groups(before, after).items():
        optimizer = live.parts[prefix].optimizer
        optimizer = getattr(optimizer, "optimizer", optimizer)
        old, new = before[prefix], after[prefix]
        error = _raised(optimizer, groups, new)
        # One that fails already (LBFGS needs a closure) proves nothing about the new options.
        if error is None or _raised(optimizer, groups, old) is not None:
            continue
        dot = f"{prefix}." if prefix else ""
        options = {name: name.removeprefix(dot) for name in values}
        candidates = [name for name, option in options.items() if option in new[0]] or list(values)
        alone = [
            name
            for name in candidates
            if _raised(optimizer, groups, _with(old, new, options[name]))
        ]
        raise _refused(optimizer, {name: values[name] for name in alone or candidates}, error)


def _with(old: Told, new: Told, option: str) -> Told:
    """Return the old options with one of the new."""
    return [
        {**group, **({option: other[option]} if option in other else {})}
        for group, other in zip(old, new, strict=True)
    ]


def _raised(optimizer: Any, groups: Sequence[int], options: Told) -> Exception | None:
    try:
        with rng.preserved(), warnings.catch_warnings(action="ignore"):
            return _Trial(optimizer, groups).error(options)
    except Exception:
        logger.debug("branchtrack cannot try options on the side", exc_info=True)
        return None


def _smallest(optimizer: Any, parameters: Sequence[Any]) -> Iterator[Any]:
    """Yield the smallest of the parameters with each set of names in their state."""
    smallest: dict[frozenset[str], Any] = {}
    for parameter in parameters:
        kind = frozenset(optimizer.state.get(parameter, ()))
        if kind and (kind not in smallest or parameter.numel() < smallest[kind].numel()):
            smallest[kind] = parameter
    yield from smallest.values()


def _refused(optimizer: Any, values: Mapping[str, Any], error: Exception) -> InvalidInput:
    kind, name = type(optimizer).__name__, next(iter(values))
    settings = " and ".join(f"{name}={value}" for name, value in values.items())
    return InvalidInput(
        name,
        values[name],
        f"what the state of {kind} was made for",
        what=f"{settings} cannot be set here: with the state that {kind} has by now its next step "
        f"would end in {type(error).__name__}: {error}.",
    )
