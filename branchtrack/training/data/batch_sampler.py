"""A batch sampler that can start anywhere in an epoch, wrapped around the loader's own.

`Position` holds what it records and where it starts.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from torch.utils.data import BatchSampler, Sampler, SequentialSampler

from branchtrack.training.data import redraws
from branchtrack.training.data.keyed import Batch
from branchtrack.training.settings.dataset_settings import DRAWS_ITEMS

#: A collate function that creates its own generator does so in one of the first batches.
_EARLY = 3


class Position(Protocol):
    """The position of a training in its batches; see `position.LoaderPosition`.

    ``order`` and ``ahead`` are the random states from which this epoch's order was drawn, and the
    batch after the present one is fetched; ``resumed`` is the stored position of a resumed epoch,
    whose first ``skipped`` batches are left out; ``redrawn`` is what was redrawn of its order (see
    `redraws`). ``key_seed`` and ``epoch`` key each batch for workers.
    """

    order: dict[str, Any] | None
    ahead: dict[str, Any] | None
    resumed: Mapping[str, Any] | None
    skipped: int
    epoch: int
    placeholders: bool
    looks_ahead: bool

    @property
    def redrawn(self) -> Sequence[Mapping[str, Any]]:
        """What was redrawn of the order of this pass, oldest first."""

    @property
    def key_seed(self) -> int:
        """The seed of what workers draw for the batches of this pass."""

    @property
    def has_workers(self) -> bool:
        """Whether other processes fetch the batches."""

    @property
    def is_marking(self) -> bool:
        """Whether the indices of a batch carry a key or a tag."""

    def is_begun(self) -> bool:
        """Return whether this iteration is the one of the pass; true once for each pass."""

    def prepare_order(self) -> None:
        """Prepare for drawing the order of the pass."""

    def settle(self) -> None:
        """Restore the process's generators to their stored states, once."""

    def capture_generators(self, *, look: bool = True) -> dict[str, Any]:
        """Return the state of every generator that the loader may draw from."""

    def restore_generators(self, states: Mapping[str, Any]) -> None:
        """Set them to what `capture_generators` returned."""


class Batches(Sampler[list[Any]]):
    """A batch sampler that knows its position and can start anywhere in an epoch."""

    def __init__(self, inner: Any, position: Position) -> None:
        self.inner, self._position = inner, position
        self._is_plain = type(inner) is BatchSampler

    def __len__(self) -> int:
        return len(self.inner)

    def __getattr__(self, name: str) -> Any:
        if name == "inner":
            raise AttributeError(name)
        return getattr(self.inner, name)

    @property
    def sampler(self) -> Any:
        """The sampler that draws the order; accelerate may replace it."""
        return self.inner.sampler

    @sampler.setter
    def sampler(self, sampler: Any) -> None:
        self.inner.sampler = sampler

    def bounded(self, samples: int) -> int:
        """Limit a number of samples to the length of an epoch; a custom sampler has no limit."""
        return min(samples, len(self.sampler)) if self._is_plain else samples

    def to_skip(self, state: Mapping[str, Any]) -> int:
        """Return how many batches of the present size precede a stored position in its epoch."""
        if not self._is_plain:
            return int(state["batches"])
        left, size = len(self.sampler) - int(state["samples"]), int(self.batch_size)
        return len(self) - (left // size if self.drop_last else -(-left // size))

    def redrawable(self, samples: int) -> int:
        """Return up to which sample an epoch may be redrawn after its first ``samples`` samples, so
        that the same are trained on; ``samples`` if its order is not random, or not known.
        """
        if not self._is_plain:
            return samples
        if isinstance(self.sampler, SequentialSampler):
            # Items that the dataset draws itself are random in whatever order they come.
            if not getattr(self.sampler.data_source, DRAWS_ITEMS, False):
                return samples
        end = len(self.sampler)
        # Those of an incomplete batch that is dropped stay what they are.
        return end - (end - samples) % int(self.batch_size) if self.drop_last else end

    def __iter__(self) -> Iterator[list[Any]]:
        # As a generator it starts when the first batch is requested, not when it is created.
        position, resumed = self._position, self._position.resumed
        if not position.is_begun():
            yield from self.inner
            return
        position.prepare_order()
        if position.placeholders:
            yield from itertools.repeat([], position.skipped)
        batches = self._after(resumed["samples"] if resumed else 0)
        before = position.order if resumed is None else resumed["ahead"]
        if resumed is not None:
            # The order is drawn again up to the position; what is drawn after that came later.
            next(batches)
            position.restore_generators(before) if before else position.settle()
        for number in itertools.count(position.skipped):
            if number > position.skipped:
                position.settle()
                before = None
                if position.looks_ahead and not position.has_workers:
                    before = position.capture_generators(look=number - position.skipped < _EARLY)
            batch = next(batches, None)
            if batch is None:
                return
            position.ahead = before
            yield self._keyed(batch, number)

    def _after(self, samples: int) -> Iterator[list[Any]]:
        """Yield the batches of this epoch after its first ``samples`` samples; an empty batch comes
        first if there were any.
        """
        if not self._is_plain:
            batches = iter(self.inner)
            if samples:
                deque(itertools.islice(batches, self._position.skipped), maxlen=0)
                yield []
            yield from batches
            return
        order = iter(self.sampler)
        if self._position.redrawn:
            order = iter(
                redraws.permuted(list(order), self._position.redrawn, self._position.epoch)
            )
        if samples:
            deque(itertools.islice(order, samples), maxlen=0)
            yield []
        while batch := list(itertools.islice(order, self.batch_size)):
            if self.drop_last and len(batch) < self.batch_size:
                return
            yield batch

    def _keyed(self, batch: list[Any], number: int) -> list[Any]:
        if not self._position.is_marking:
            return batch
        keyed = Batch(batch)
        if self._position.has_workers:
            keyed.key = (self._position.key_seed, self._position.epoch, number)
        return keyed
