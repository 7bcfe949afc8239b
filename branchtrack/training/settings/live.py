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
    """Settings of a loop itself, such as the step at which it ends; see `apply` for its readers."""

    @property
    def declared(self) -> dict[str, Setting]:
        """What the loop can change while it goes on, by name; directives are among them."""

    def read(self, name: str) -> Any:
        """A setting's value, from the place that the loop reads; of a directive there is none."""

    def used(self) -> dict[str, Any]:
        """What the update made last has used instead of what is set, by name."""

    def implied(self, live: Live, values: Mapping[str, Any]) -> dict[str, Any]:
        """What follows from a change of ``values``, by name."""

    def write(self, live: Live, values: Mapping[str, Any]) -> None:
        """Change settings together.

        Raises:
            InvalidInput: they do not fit each other or the loop; not all may have been kept.
        """

    def kept(self, live: Live) -> Callable[[], None]:
        """Keep all that `write` can touch; calling the result puts it back."""


@dataclass
class Live:
    """The objects of a loop. ``options`` bears ``max_grad_norm``, read at every clipping, or not.

    ``optimizer`` is one or a dict of them by name; ``scheduler`` None, one, or with several
    optimizers a dict by their names. ``decayed`` says for each parameter group of `groups` whether
    it is meant to be decayed; ``fixed`` are settings that cannot be changed while the loop runs,
    for nodes to record, ``values`` those that the loop's author declared, ``loop`` those of the
    loop itself that can, and ``data`` those that its datasets declare. ``attributes`` is state that
    objects keep in attributes of their own.
    ``registry`` is the training's own, for `handles` to keep what it has made.
    ``processor`` is what makes the model's inputs (a tokenizer), for exports.
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
    registry: dict[str, Any] = field(default_factory=dict)

    @property
    def is_several(self) -> bool:
        """Whether its optimizers go by names."""
        return isinstance(self.optimizer, dict)

    @property
    def parts(self) -> dict[str, Live]:
        """Each optimizer with its scheduler, by name and in order of names; one alone is ``""``."""
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
        """Every scheduler, with those that it is made of."""
        return [
            scheduler
            for optimizer_objects in self.parts.values()
            for scheduler in within(optimizer_objects.scheduler)
        ]


def number(value: Any) -> float:
    """A float, also where the optimizer keeps the value as a tensor."""
    return float(value.item()) if isinstance(value, torch.Tensor) else float(value)


def put(group: dict[str, Any], name: str, value: float) -> None:
    """Set a group's value in place where the optimizer keeps a tensor."""
    if isinstance(group.get(name), torch.Tensor):
        group[name].fill_(value)
    else:
        group[name] = value


def within(scheduler: Any) -> Iterator[Any]:
    """A scheduler with those that it is made of; of None nothing."""
    if scheduler is not None:
        yield scheduler
        for child in getattr(scheduler, "_schedulers", ()):
            yield from within(child)
