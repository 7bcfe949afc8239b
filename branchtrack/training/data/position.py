"""A position in the batches of one loader: stored with a node, and come back to exactly.

It holds what the objects in the loader (`batch_sampler.Batches`, `iterable.Streamed`) record while
the loop takes batches, and where they start; `tracking` puts them there.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, SequentialSampler

from branchtrack.training import rng
from branchtrack.training.data import division, growth, redraws
from branchtrack.training.data.batch_sampler import Batches
from branchtrack.training.data.generators import Generators
from branchtrack.training.data.iterable import Streamed
from branchtrack.training.data.sample_order import SampleOrder
from branchtrack.training.settings.dataset_settings import DataSettings

#: Seeds have 32 bits: those of ranks lie beside them.
_BETWEEN_RANKS = 2**32


class LoaderPosition:
    """The position of a training in a loader's batches; the `batch_sampler.Position` of a loader.

    The training loop calls `begin` before each pass, and `settle` once its first batch is there; an
    iteration started without `begin` gets what the loader itself yields.
    ``kind`` is ``map``, ``iterable``, or ``other`` for what can only be read again from its start.
    ``rank`` is that of this process among several. ``settings`` are those that its datasets
    declare, ``sample_order`` what its order is drawn from.
    """

    def __init__(
        self,
        loader: DataLoader[Any],
        seed: int,
        settings: DataSettings,
        *,
        batch_sampler: Any | None,
        stream: Streamed | None,
        generators: Generators,
        placeholders: bool,
        looks_ahead: bool,
        rank: int = 0,
    ) -> None:
        self.rank = rank
        self.looks_ahead, self.placeholders = looks_ahead, placeholders
        self.seed, self.epoch = seed, 0
        self.settings = settings
        self.order: dict[str, Any] | None = None
        self.ahead: dict[str, Any] | None = None
        self.resumed: Mapping[str, Any] | None = None
        self.skipped = self._skipped_samples = 0
        # Weakly, so that a loader ends with its last reference: garbage collection would end the
        # queues of its persistent workers first, and then wait 5 s for each worker.
        self._loader_reference, self._next_seed = weakref.ref(loader), seed
        self._keeps_workers = loader.persistent_workers and loader.generator is None
        self.sample_order = SampleOrder(
            loader, division.undivided(batch_sampler), lends_generator=self._keeps_workers
        )
        self.batch_sampler = None if batch_sampler is None else Batches(batch_sampler, self)
        self.stream = stream
        #: States of the generators of the order from which this pass's was drawn.
        self._drawn_from: list[torch.Tensor] = []
        #: Generators that the script's own objects keep, and their states as this pass began.
        self._kept_generators = generators
        self._kept_at_begin: dict[str, Any] = {}
        #: Whether the next iteration is the one of the pass.
        self._awaited = False
        #: A stored position for the next pass, and the states to restore once it is reached.
        self._to_resume: Mapping[str, Any] | None = None
        self._to_settle: dict[str, Any] | None = None

    @property
    def divided(self) -> int:
        """Among how many processes the order of the loader is divided."""
        return 1 if self.batch_sampler is None else division.size(self.batch_sampler.inner)

    @property
    def redrawn(self) -> Sequence[Mapping[str, Any]]:
        """What was redrawn of the order of this pass, oldest first; see `redraws`."""
        stored = self.resumed or self._to_resume or {}
        redrawn: Sequence[Mapping[str, Any]] = stored.get(redraws.REDRAWN, ())
        return redrawn

    @property
    def key_seed(self) -> int:
        """The seed of what workers draw for the batches of this pass."""
        seed = self.redrawn[-1]["seed"] if self.redrawn else self.seed
        # Each process has batches of its own, of which none is to be augmented like another's.
        return seed if self.rank == 0 else seed + self.rank * _BETWEEN_RANKS

    @property
    def kind(self) -> str:
        """``map``, ``iterable`` or ``other``."""
        if self.batch_sampler is not None:
            return "map"
        return "other" if self.stream is None else "iterable"

    @property
    def _loader(self) -> DataLoader[Any]:
        loader = self._loader_reference()
        assert loader is not None
        return loader

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
        if self.batch_sampler is not None:
            samples = self.batch_sampler.bounded(samples)
        was_drawn = begun and self.batch_sampler is not None
        stored: dict[str, Any] = {
            "epoch": epoch,
            "batches": batches,
            "samples": samples if begun else 0,
            "seed": self.seed,
            "order": self.order if begun else None,
            "ahead": self.ahead if begun and fetched_ahead else None,
            "order_seed": self.sample_order.seed,
            "order_size": self.sample_order.size if begun else None,
            # An order that was begun is drawn again from the state it was first drawn from.
            "generators": self._drawn_from if was_drawn else self.sample_order.capture(),
            "sizes": self.stream.sizes if self.stream is not None and begun else [],
            "own": self._kept_generators.capture(),
            "pass_own": self._kept_at_begin if begun else {},
        }
        # Only where they say something: the digests of other states stay what they were.
        if self.divided > 1:
            stored[division.KEY] = self.divided
        if self.seed != self._next_seed:
            stored["next_seed"] = self._next_seed
        if begun and self.redrawn:
            stored[redraws.REDRAWN] = list(self.redrawn)
        if self.settings.declared:
            streams = self.stream is not None
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
        state = division.again(state, self.divided)
        begun = state["batches"] > 0
        self.settings.resume(state.get("settings"))
        self.epoch, self.seed = state["epoch"], state["seed"]
        self._next_seed = state.get("next_seed", self.seed) if seed is None else seed
        self.sample_order.seed = state["order_seed"]
        self.sample_order.restore(state["generators"])
        # Those of an iterable dataset reach their states as its pass is read again.
        kept = state["pass_own"] if begun and self.stream is not None else state.get("own", {})
        self._kept_generators.restore(kept)
        if not begun:
            return 0
        self._to_resume, self._to_settle = state, {**now, "own": kept}
        self._skipped_samples, self.skipped = state["samples"], self._to_skip(state)
        return self.skipped

    def redrawn_by(self, state: Mapping[str, Any], seeds: Sequence[int]) -> dict[str, Any]:
        """Convert a stored position: the rest of its pass comes in another order, drawn from each
        of ``seeds`` in turn. It stays what it is if the order is not random, or nothing is left.
        """
        samples = int(state["samples"])
        end = 0 if self.batch_sampler is None else self.batch_sampler.redrawable(samples)
        if not (state["batches"] and seeds and end > samples):
            return dict(state)
        return redraws.redraw(state, seeds, end)

    def in_changed_data(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Convert a stored position for data that has changed since; see `growth`."""
        in_order = type(self.sample_order.sampler) is SequentialSampler
        length = len(self.sample_order.sampler) if in_order else 0
        return growth.place(state, length)

    def restart_pass(self, epoch: int, batches: int, *, fetched_ahead: bool) -> int:
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
        self.epoch, self.resumed, self._to_resume = epoch, self._to_resume, None
        if self.settings.is_stale:
            self._loader._iterator = None
        self.settings.enter(fresh=self.resumed is None)
        self._awaited = True
        if self.resumed is None:
            self.skipped = self._skipped_samples = 0
            if self.seed != self._next_seed:
                self.seed = self._next_seed
                self.sample_order.reseed(self.seed)
        if self.stream is not None:
            self._kept_at_begin = self._kept_generators.capture()
            self.stream.begin(self.seed, epoch, fresh=self.resumed is None)
        if self._keeps_workers and epoch and self._loader._iterator is None:
            # Persistent workers would not have been given a seed in this pass.
            self._lend_generator(torch.Generator())

    def is_begun(self) -> bool:
        """Return whether this iteration is the one of the pass; true once for each pass."""
        begun, self._awaited = self._awaited, False
        return begun

    def prepare_order(self) -> None:
        """Prepare for drawing the order of the pass; a resumed pass gets the order it had."""
        if self.resumed is None:
            self.sample_order.take_next_size()
            self.order, self._drawn_from = self.capture_generators(), self.sample_order.capture()
            return
        self.restore_generators(self.resumed["order"])
        self.sample_order.restore(self.resumed["generators"])
        self.sample_order.return_to_size(self.resumed.get("order_size"))
        # Not inspected again: generators may exist by now that did not exist then.
        self.order = dict(self.resumed["order"])
        self._drawn_from = list(self.resumed["generators"])

    def settle(self) -> None:
        """Restore the process's generators to their stored states, once."""
        self._lend_generator(None)
        if self.stream is not None:
            self.stream.started()
        now, self._to_settle = self._to_settle, None
        if now is not None:
            # What is drawn ahead for workers, or read again of a stream, gets there by itself.
            kept = {} if self.has_workers or self.batch_sampler is None else now["own"]
            self.restore_generators({**now, "own": kept})

    def capture_generators(self, *, look: bool = True) -> dict[str, Any]:
        """Return the state of every generator that the loader may draw from in this process.

        ``look``: include those that were created since the last look.
        """
        return {**rng.capture(devices=False), "own": self._kept_generators.capture(look=look)}

    def restore_generators(self, states: Mapping[str, Any]) -> None:
        """Set them to what `capture_generators` returned."""
        rng.restore(dict(states))
        self._kept_generators.restore(states.get("own", {}))

    @property
    def _batch_size(self) -> int:
        size = self._loader.batch_size
        if self.batch_sampler is not None:
            # A sampler of batches need not have a size; then its batches are counted.
            size = getattr(self.batch_sampler.inner, "batch_size", None)
        return size or 1

    def _to_skip(self, state: Mapping[str, Any]) -> int:
        if self.batch_sampler is not None:
            return self.batch_sampler.to_skip(state)
        return state["batches"] if self.stream is None else self.stream.resume(state)

    def _lend_generator(self, generator: torch.Generator | None) -> None:
        if self._keeps_workers and self._loader.generator is not generator:
            object.__setattr__(self._loader, "generator", generator)
