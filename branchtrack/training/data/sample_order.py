"""What the order of a loader's samples is drawn from: its sampler, a seed, generators."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader


class SampleOrder:
    """The sources of one loader's order; ``batch_sampler`` is the loader's own, None if it has no
    order that can be drawn again.

    ``next_size`` is the batch size for a sampler that sorts neighbours by length, from its next
    order on. ``lends_generator``: the loader has a generator now and then that is not the script's.
    """

    def __init__(
        self, loader: DataLoader[Any], batch_sampler: Any | None, *, lends_generator: bool
    ) -> None:
        self.next_size: int | None = None
        # Weakly: the loader holds its sampler, and must end with its last reference.
        self._loader, self._batch_sampler = weakref.ref(loader), batch_sampler
        self._lends_generator = lends_generator

    @property
    def sampler(self) -> Any:
        """The sampler that draws the order, looked up each time: accelerate may replace it."""
        return getattr(self._batch_sampler, "sampler", None)

    @property
    def size(self) -> int | None:
        """The batch size by which the sampler sorts, if it does."""
        size = getattr(self.sampler, "batch_size", None)
        return size if isinstance(size, int) else None

    def take_next_size(self) -> None:
        """Make the order that is about to be drawn use ``next_size``, if there is one."""
        if self.next_size is not None:
            self.sampler.batch_size, self.next_size = self.next_size, None

    def return_to_size(self, size: int | None) -> None:
        """Make the order that is about to be drawn again use the size it was first drawn with.

        A sampler that sorts neighbours by length has another order for each size.
        """
        if size is not None:
            self.next_size = self.size
            self.sampler.batch_size = size

    def resize(self, before: int, size: int) -> None:
        """Draw orders for ``size`` samples at a time that were drawn for ``before``, from the next
        order on.
        """
        if before in (self.size, self.next_size):
            self.next_size = size

    @property
    def seed(self) -> int | None:
        """The seed from which accelerate's SeedableRandomSampler draws every order of an epoch."""
        return getattr(self.sampler, "initial_seed", None)

    @seed.setter
    def seed(self, seed: int | None) -> None:
        if seed is not None and self.seed is not None:
            self.sampler.initial_seed = seed

    def reseed(self, seed: int) -> None:
        """Draw later orders from another seed."""
        self.seed = seed
        for generator in self._generators():
            generator.manual_seed(seed)

    def capture(self) -> list[torch.Tensor]:
        """Return the states of the generators of sampler and loader."""
        return [generator.get_state() for generator in self._generators()]

    def restore(self, states: Sequence[torch.Tensor]) -> None:
        """Set the generators to what `capture` returned."""
        for generator, state in zip(self._generators(), states, strict=False):
            generator.set_state(state)

    def _generators(self) -> list[torch.Generator]:
        of_sampler = None if self.seed is not None else getattr(self.sampler, "generator", None)
        of_loader = None if self._lends_generator else getattr(self._loader(), "generator", None)
        generators = (of_sampler, of_loader)
        return list({id(item): item for item in generators if item is not None}.values())
