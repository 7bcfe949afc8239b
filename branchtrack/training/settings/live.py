"""The live objects of a training loop: one model, and one optimizer or several by name.

It knows no setting, no state and no request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch

from branchtrack.core.settings import Setting
from branchtrack.training.attributes.changes import Attributes
from branchtrack.training.settings.author import Values
from branchtrack.training.settings.dataset_settings import DataSettings


class LoopSettings(Protocol):
    """Settings of a loop itself, such as the step at which it ends; `apply` reads them."""

    @property
    def declared(self) -> dict[str, Setting]:
        """Return what the loop can change while it runs, by name, directives included."""

    def read(self, name: str) -> Any:
        """Return a setting's value, as the loop reads it; directives have none."""

    def used(self) -> dict[str, Any]:
        """Return what the last update used instead of what is set, by name."""

    def implied(self, live: Live, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return what follows from a change of ``values``, by name."""

    def write(self, live: Live, values: Mapping[str, Any]) -> None:
        """Change settings together.

        Raises:
            InvalidInput: they do not fit each other or the loop; some may have been written.
        """

    def kept(self, live: Live) -> Callable[[], None]:
        """Keep all that `write` can touch; calling the result restores it."""


@dataclass
class Live:
    """The objects of a loop. ``options`` may have ``max_grad_norm``, read at every clipping.

    ``optimizer`` is one or a dict of them by name; ``scheduler`` None, one, or with several
    optimizers a dict by their names. ``decayed`` holds for each parameter group of `groups` whether
    it is meant to be decayed; ``fixed`` are settings that cannot be changed while the loop runs,
    for nodes to record, ``values`` those that the loop's author declared, ``loop`` those of the
    loop itself that can change, and ``data`` those that its datasets declare. ``attributes`` is
    state that objects keep in attributes of their own. ``registry`` is where `registry.current`
    keeps what it has built, shared by all parts. ``processor`` makes the model's inputs (a
    tokenizer), for exports.
    """

    model: torch.nn.Module
    optimizer: Any
    scheduler: Any
    options: Any
    decayed: list[bool]
    fixed: dict[str, Any] = field(default_factory=dict)
    values: Values | None = None
    loop: LoopSettings | None = None
    data: DataSettings | None = None
    attributes: Attributes | None = None
    processor: Any = None
    registry: list[Any] = field(default_factory=list)

    @property
    def is_several(self) -> bool:
        """Whether there are several optimizers, by name."""
        return isinstance(self.optimizer, dict)

    @property
    def parts(self) -> dict[str, Live]:
        """Each optimizer with its scheduler, by name and sorted; a single one is ``""``."""
        if not self.is_several:
            return {"": self}
        optimizers, start = {}, 0
        for name in sorted(self.optimizer):
            optimizer = self.optimizer[name]
            end = start + len(optimizer.param_groups)
            scheduler = (self.scheduler or {}).get(name)
            optimizers[name] = replace(
                self, optimizer=optimizer, scheduler=scheduler, decayed=self.decayed[start:end]
            )
            start = end
        return optimizers

    @property
    def groups(self) -> list[dict[str, Any]]:
        """The parameter groups of all optimizers."""
        if not self.is_several:
            groups: list[dict[str, Any]] = self.optimizer.param_groups
            return groups
        return [
            group for optimizer_objects in self.parts.values() for group in optimizer_objects.groups
        ]

    @property
    def schedulers(self) -> list[Any]:
        """Every scheduler, with those that it consists of."""
        return [
            scheduler
            for optimizer_objects in self.parts.values()
            for scheduler in within(optimizer_objects.scheduler)
        ]


def number(value: Any) -> float:
    """Return a float, also where the optimizer keeps the value as a tensor."""
    return float(value.item()) if isinstance(value, torch.Tensor) else float(value)


def put(group: dict[str, Any], name: str, value: float) -> None:
    """Set a group's value, in place where the optimizer keeps a tensor."""
    if isinstance(group.get(name), torch.Tensor):
        group[name].fill_(value)
    else:
        group[name] = value


def within(scheduler: Any) -> Iterator[Any]:
    """Yield a scheduler and those that it consists of; nothing for None."""
    if scheduler is not None:
        yield scheduler
        for child in getattr(scheduler, "_schedulers", ()):
            yield from within(child)
