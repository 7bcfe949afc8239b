"""The position, order and randomness of the batches of a DataLoader, saved and restored exactly.

`track` puts three small objects into an existing loader, so that code that iterates it sees no
difference:

* map datasets: `Batches` around the batch sampler. It notes the random state in which the order of
  an epoch was drawn and that in which each batch was begun, and can start in the middle of an epoch
  without reading what was read before. Batches fetched by workers carry a key instead, from which
  `Keyed` seeds the worker: (seed, epoch, number of the batch).
* iterable datasets: `Streamed` around the dataset. Each batch is fetched under generators of its
  own, seeded by such a key, so that reading a pass again gives the same items again.

Where datasets declare settings (see `dataset_settings`), each batch carries a tag with the values
its samples were drawn with, and a pass can be restarted where it is with the present values.

Without workers the batches of a map dataset are drawn from the process's own generators, as without
branchtrack: the same script gives the same bits.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset, IterDataPipe, SequentialSampler

from branchtrack.training import rng
from branchtrack.training.data import growth
from branchtrack.training.data.batch_sampler import Batches
from branchtrack.training.data.generators import Generators
from branchtrack.training.data.iterable import Collated, Streamed
from branchtrack.training.data.keyed import Keyed
from branchtrack.training.settings.batch_tags import Tagging
from branchtrack.training.settings.dataset_settings import DataSettings

logger = logging.getLogger("branchtrack")


def track(
    loader: DataLoader[Any], seed: int, *, placeholders: bool = False, ahead: bool = True
) -> Tracked:
    """Track the batches of a torch DataLoader, in place; ``seed`` is part of every key.

    ``placeholders``: a map dataset's pass that starts in the middle begins with an empty list for
    every batch before it, for an accelerate loader to drop unread. ``ahead``: the code that
    iterates may have fetched one batch more than it yields, so the state after each is needed.
    """
    return Tracked(loader, seed, placeholders, ahead)


def untrack(loader: DataLoader[Any]) -> None:
    """Remove from a loader what `track` put into it, if anything."""
    if isinstance(loader.batch_sampler, Batches):
        object.__setattr__(loader, "batch_sampler", loader.batch_sampler.inner)
    if isinstance(loader.dataset, Keyed):
        object.__setattr__(loader, "dataset", loader.dataset.dataset)
    elif isinstance(loader.dataset, Streamed):
        object.__setattr__(loader, "dataset", loader.dataset.inner)
    if isinstance(loader.collate_fn, (Collated, Tagging)):
        loader.collate_fn = loader.collate_fn.collate


def settings_of(source: Any, *, steered: bool) -> DataSettings:
    """Return the settings of the data behind a loader or dataset; none where they cannot be
    changed, which is logged once.
    """
    settings = DataSettings(source)
    if steered or not settings.declared:
        return settings
    logger.warning(
        "branchtrack: %s cannot be changed during this training. Only the data of a torch "
        "DataLoader that makes batches of a map or iterable dataset can.",
        " and ".join(settings.declared),
    )
    return DataSettings(None)


class Tracked:
    """The tracked state of a loader's batches.

    The training loop calls `begin` before each pass, and `settle` once its first batch is there; an
    iteration started without `begin` gets what the loader itself yields.
    ``kind`` is ``map``, ``iterable``, or ``other`` for what can only be read again from its start.
    ``settings`` are those that its datasets declare.
    """

    def __init__(
        self, loader: DataLoader[Any], seed: int, placeholders: bool, looks_ahead: bool
    ) -> None:
        self.looks_ahead = looks_ahead
        self.seed, self.epoch, self.placeholders = seed, 0, placeholders
        self.order: dict[str, Any] | None = None
        self.ahead: dict[str, Any] | None = None
        self.resumed: Mapping[str, Any] | None = None
        self.skipped = self._skipped_samples = 0
        self._drawn_from: list[torch.Tensor] = []
        self._own = Generators(
            dataset=loader.dataset, collate=loader.collate_fn, sampler=loader.batch_sampler
        )
        self._pass_own: dict[str, Any] = {}
        #: The batch size for a sampler that sorts neighbours by length, from its next order on.
        self.next_order_size: int | None = None
        self._awaited = False
        self._keeps_workers = loader.persistent_workers and loader.generator is None
        self._loader, self._next_seed = loader, seed
        self._found: Mapping[str, Any] | None = None
        self._now: dict[str, Any] | None = None
        self._batches: Batches | None = None
        self._stream: Streamed | None = None
        piped = isinstance(loader.dataset, IterDataPipe)
        steered = not piped and loader.batch_size is not None or loader.batch_sampler is not None
        self.settings = settings_of(loader.dataset, steered=steered)
        # torch refuses such changes, since an iterator made before would not see them.
        if isinstance(loader.dataset, IterableDataset):
            if not piped:
                self._stream = Streamed(loader, self.settings)
                object.__setattr__(loader, "dataset", self._stream)
        elif loader.batch_sampler is not None:
            self._batches = Batches(loader.batch_sampler, self)
            object.__setattr__(loader, "batch_sampler", self._batches)
            if self.is_marking:
                keyed = Keyed(loader.dataset, loader.collate_fn, self.settings)
                object.__setattr__(loader, "dataset", keyed)
            if self.settings.declared:
                loader.collate_fn = Tagging(loader.collate_fn)

    @property
    def kind(self) -> str:
        """``map``, ``iterable`` or ``other``."""
        if self._batches is not None:
            return "map"
        return "other" if self._stream is None else "iterable"

    @property
    def has_workers(self) -> bool:
        """Whether other processes fetch the batches."""
        return bool(self._loader.num_workers)

    @property
    def is_marking(self) -> bool:
        """Whether the indices of a batch carry a key or a tag."""
        return self.has_workers or bool(self.settings.declared)

    def state(self, epoch: int, batches: int, *, fetched_ahead: bool) -> dict[str, Any]:
        """Return the position after ``batches`` batches of an epoch (skipped ones count).

        ``fetched_ahead``: whether the batch after that position has been fetched already.
        """
        begun = batches > 0
        samples = self._skipped_samples + (batches - self.skipped) * self._batch_size
        if self._batches is not None:
            samples = self._batches.bounded(samples)
        stored = {
            "epoch": epoch,
            "batches": batches,
            "samples": samples if begun else 0,
            "seed": self.seed if begun else self._next_seed,
            "order": self.order if begun else None,
            "ahead": self.ahead if begun and fetched_ahead else None,
            "order_seed": self._order_seed(),
            "order_size": self._order_size() if begun else None,
            # An order that was begun is drawn again from the state it was first drawn from.
            "generators": self._drawn_from if begun and self._batches else self._generator_states(),
            "sizes": self._stream.sizes if self._stream is not None and begun else [],
            "own": self._own.capture(),
            "pass_own": self._pass_own if begun else {},
        }
        if self.settings.declared:
            streams = self._stream is not None
            stored["settings"] = self.settings.state(begun=begun, streams=streams)
        return stored

    def resume(self, state: Mapping[str, Any], now: dict[str, Any], seed: int | None = None) -> int:
        """Make the next pass continue at a stored position; return how many batches it skips.

        Those of an iterable dataset have to be read all the same. ``now``: the random state to
        restore when the first batch is there. ``seed``: another one, for all that is drawn from the
        next epoch on.

        Raises:
            InvalidInput: the batch size was changed where samples cannot be told apart.
        """
        begun = state["batches"] > 0
        self.settings.resume(state.get("settings"))
        self.epoch, self.seed = state["epoch"], state["seed"]
        self._next_seed = self.seed if seed is None else seed
        self._give_order_seed(state["order_seed"])
        self._give_generators(state)
        # Those of an iterable dataset reach their states as its pass is read again.
        generator_states = (
            state["pass_own"] if begun and self._stream is not None else state.get("own", {})
        )
        self._own.restore(generator_states)
        if not begun:
            return 0
        self._found, self._now = state, {**now, "own": generator_states}
        self._skipped_samples, self.skipped = state["samples"], self._to_skip(state)
        return self.skipped

    def elsewhere(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Convert a stored position for data that has changed since; see `growth`."""
        in_order = type(self._sampler()) is SequentialSampler
        length = len(self._sampler()) if in_order else 0
        return growth.place(state, length)

    def again(self, epoch: int, batches: int, *, fetched_ahead: bool) -> int:
        """Restart this pass after ``batches`` batches with the present settings, for the next
        iteration; return how many batches it skips, as `resume` does.
        """
        state = self.state(epoch, batches, fetched_ahead=fetched_ahead)
        skipped = self.resume(state, rng.capture(devices=False), self._next_seed)
        # Persistent workers would keep their copies of the dataset.
        self._loader._iterator = None
        self.begin(epoch)
        return skipped

    def begin(self, epoch: int) -> None:
        """Begin a pass: the one that was resumed, or a new one from its start."""
        self.epoch, self.resumed, self._found = epoch, self._found, None
        if self.settings.is_stale:
            self._loader._iterator = None
        self.settings.enter(fresh=self.resumed is None)
        self._awaited = True
        if self.resumed is None:
            self.skipped = self._skipped_samples = 0
            if self.seed != self._next_seed:
                self._take_seed()
        if self._stream is not None:
            self._pass_own = self._own.capture()
            self._stream.begin(self.seed, epoch, fresh=self.resumed is None)
        if self._keeps_workers and epoch and self._loader._iterator is None:
            # Persistent workers would not have been given a seed in this pass.
            self._aside(torch.Generator())

    def is_begun(self) -> bool:
        """Return whether this iteration is the one of the pass; true once for each pass."""
        begun, self._awaited = self._awaited, False
        return begun

    def draw(self) -> None:
        """Prepare for drawing the order of the pass; a resumed pass gets the order it had."""
        if self.resumed is None:
            if self.next_order_size is not None:
                self._sampler().batch_size, self.next_order_size = self.next_order_size, None
            self.order, self._drawn_from = self.here(), self._generator_states()
            return
        self.give(self.resumed["order"])
        self._give_generators(self.resumed)
        if self.resumed.get("order_size") is not None:
            # A sampler that sorts neighbours by length has another order for each batch size.
            self.next_order_size = self._order_size()
            self._sampler().batch_size = self.resumed["order_size"]
        # Not inspected again: generators may exist by now that did not exist then.
        self.order = dict(self.resumed["order"])
        self._drawn_from = list(self.resumed["generators"])

    def resize_order(self, before: int, size: int) -> None:
        """Draw orders for ``size`` samples at a time that were drawn for ``before``, from the next
        order on.
        """
        if before in (self._order_size(), self.next_order_size):
            self.next_order_size = size

    def settle(self) -> None:
        """Restore the process's generators to their stored states, once."""
        self._aside(None)
        if self._stream is not None:
            self._stream.started()
        now, self._now = self._now, None
        if now is not None:
            # What is drawn ahead for workers, or read again of a stream, gets there by itself.
            generator_states = {} if self.has_workers or self._batches is None else now["own"]
            self.give({**now, "own": generator_states})

    def here(self, *, look: bool = True) -> dict[str, Any]:
        """Return the state of every generator that the loader may draw from in this process.

        ``look``: include those that were created since the last look.
        """
        return {**rng.capture(devices=False), "own": self._own.capture(look=look)}

    def give(self, states: Mapping[str, Any]) -> None:
        """Set them to what `here` returned."""
        rng.restore(dict(states))
        self._own.restore(states.get("own", {}))

    @property
    def _batch_size(self) -> int:
        size = self._loader.batch_size
        if self._batches is not None:
            # A sampler of batches need not have a size; then its batches are counted.
            size = getattr(self._batches.inner, "batch_size", None)
        return size or 1

    def _to_skip(self, state: Mapping[str, Any]) -> int:
        if self._batches is not None:
            return self._batches.to_skip(state)
        return state["batches"] if self._stream is None else self._stream.resume(state)

    def _aside(self, generator: torch.Generator | None) -> None:
        if self._keeps_workers and self._loader.generator is not generator:
            object.__setattr__(self._loader, "generator", generator)

    def _take_seed(self) -> None:
        self.seed = self._next_seed
        if self._order_seed() is not None:
            self._give_order_seed(self.seed)
        for generator in self._generators():
            generator.manual_seed(self.seed)

    def _sampler(self) -> Any:
        return None if self._batches is None else getattr(self._batches.inner, "sampler", None)

    def _order_size(self) -> int | None:
        size = getattr(self._sampler(), "batch_size", None)
        return size if isinstance(size, int) else None

    def _order_seed(self) -> int | None:
        # accelerate's SeedableRandomSampler draws every order from this and the epoch.
        return getattr(self._sampler(), "initial_seed", None)

    def _give_order_seed(self, seed: int | None) -> None:
        if seed is not None and self._order_seed() is not None:
            self._sampler().initial_seed = seed

    def _generator_states(self) -> list[torch.Tensor]:
        return [generator.get_state() for generator in self._generators()]

    def _give_generators(self, state: Mapping[str, Any]) -> None:
        for generator, generator_state in zip(
            self._generators(), state["generators"], strict=False
        ):
            generator.set_state(generator_state)

    def _generators(self) -> list[torch.Generator]:
        sampler_generator = (
            None if self._order_seed() is not None else getattr(self._sampler(), "generator", None)
        )
        # One that was set aside for persistent workers is none of the script's.
        lent = None if self._keeps_workers else self._loader.generator
        unique = {
            id(generator): generator
            for generator in (sampler_generator, lent)
            if generator is not None
        }
        return list(unique.values())
