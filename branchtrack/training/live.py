"""The live objects of a training loop: one model, and one optimizer or several by name.

It knows no setting, no state and no request.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from branchtrack.training.values import Values


@dataclass
class Live:
    """The objects of a loop. ``options`` bears ``max_grad_norm``, read at every clipping, or not.

    ``optimizer`` is one or a dict of them by name; ``scheduler`` None, one, or with several
    optimizers a dict by their names. ``decayed`` says for each parameter group of `groups` whether
    it is meant to be decayed; ``fixed`` are settings that cannot be changed while the loop runs,
    for nodes to record, and ``values`` those that the loop's author declared.
    """

    model: torch.nn.Module
    optimizer: Any
    scheduler: Any
    options: Any
    decayed: list[bool]
    fixed: dict[str, Any] = field(default_factory=dict)
    values: Values | None = None

    @property
    def is_several(self) -> bool:
        """Whether its optimizers go by names."""
        return isinstance(self.optimizer, dict)

    @property
    def parts(self) -> dict[str, Live]:
        """Each optimizer with its scheduler, by name and in order of names; one alone is ``""``."""
        if not self.is_several:
            return {"": self}
        found, start = {}, 0
        for name in sorted(self.optimizer):
            optimizer = self.optimizer[name]
            end = start + len(optimizer.param_groups)
            scheduler = (self.scheduler or {}).get(name)
            found[name] = replace(
                self, optimizer=optimizer, scheduler=scheduler, decayed=self.decayed[start:end]
            )
            start = end
        return found

    @property
    def groups(self) -> list[dict[str, Any]]:
        """The parameter groups of all optimizers."""
        if not self.is_several:
            groups: list[dict[str, Any]] = self.optimizer.param_groups
            return groups
        return [group for part in self.parts.values() for group in part.groups]

    @property
    def schedulers(self) -> list[Any]:
        """Every scheduler, with those that it is made of."""
        return [one for part in self.parts.values() for one in _within(part.scheduler)]


def number(value: Any) -> float:
    """A float, also where the optimizer keeps the value as a tensor."""
    return float(value.item()) if isinstance(value, torch.Tensor) else float(value)


def put(group: dict[str, Any], name: str, value: float) -> None:
    """Set a group's value in place where the optimizer keeps a tensor."""
    if isinstance(group.get(name), torch.Tensor):
        group[name].fill_(value)
    else:
        group[name] = value


def _within(scheduler: Any) -> Iterator[Any]:
    if scheduler is not None:
        yield scheduler
        for part in getattr(scheduler, "_schedulers", ()):
            yield from _within(part)
