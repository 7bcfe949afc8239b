"""The batches of a plain loop: one pass after another over its data, and the position in them.

DataLoaders are tracked (see `data.tracking`). Any other re-iterable is read again from the start of
a pass to return to a position in it, each batch under random generators of its own. This module
knows no session and no optimizer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch.utils.data import BatchSampler, DataLoader, IterDataPipe

from branchtrack.errors import InvalidInput
from branchtrack.training import rng
from branchtrack.training.data import growth, tracking
from branchtrack.training.data.batch_sampler import Batches
from branchtrack.training.data.position import LoaderPosition
from branchtrack.training.settings.dataset_settings import declared_values

_END = object()


class LoopBatches:
    """Endless passes over ``source``: a DataLoader, or an iterable that yields batches.

    ``epoch`` is the current pass, ``batches`` how many of it were taken (those that a resume left
    out count), and ``over`` whether it is known to have no more. ``seed`` is part of the seeds of
    what is drawn in other processes and of iterable data. An object with ``set_epoch`` (loader,
    sampler or dataset) gets each pass's number. ``settings`` are those that the datasets of a
    tracked loader declare. ``is_read`` is true once a batch was taken, ``is_unread`` once updates
    were made without any: the loop has its batches from elsewhere.
    """

    def __init__(self, source: Any, seed: int) -> None:
        self.epoch = self.batches = 0
        self.over = False
        self.source, self._seed, self._next_seed = source, seed, seed
        self._items: Iterator[Any] | None = None
        self._held: Any = _END
        self._first, self._skipped, self._given = True, 0, False
        self.is_read, self.is_unread = False, False
        self._tracked: LoaderPosition | None = None
        if is_plain(source):
            tracking.untrack(source)
            tracked = tracking.track(source, seed, ahead=False)
            self._tracked = None if tracked.kind == "other" else tracked
        elif iter(source) is source:
            raise InvalidInput(
                "data",
                source,
                "a DataLoader, or what can be iterated again for each pass",
                what="data: a generator can be read only once, so no node could continue in it.",
            )
        if self._tracked is None:
            self.settings = tracking.settings_of(source, steered=False)
        else:
            self.settings = self._tracked.settings

    def rest(self) -> Iterator[Any]:
        """Yield the rest of this pass, or all of the next if this one is over.

        Raises:
            InvalidInput: a whole pass yielded no batch.
        """
        batch = self._take(within=False)
        while batch is not _END:
            yield batch
            batch = self._take(within=True)

    def take(self) -> Any:
        """Return the next batch, from the next pass if this one is over.

        Raises:
            InvalidInput: a whole pass yielded no batch.
        """
        return self._take(within=False)

    def _take(self, *, within: bool) -> Any:
        """Return the next batch; ``within`` a pass its end is a result, too."""
        self.is_read = True
        if self._items is not None and not self.over and self.settings.is_stale:
            self._change()
        while True:
            if self._items is None:
                self._begin()
            batch, self._held = self._held, _END
            if batch is _END:
                batch = self._fetch()
            if self._tracked is not None:
                self._tracked.settle()
            if batch is not _END:
                batch = self.settings.open(batch)
                self.batches, self._given = self.batches + 1, True
                self._look_for_the_end()
                return batch
            self._end()
            if within:
                return _END

    def state(self) -> dict[str, Any]:
        """Return what a resume needs to continue exactly here, as tensors and plain values."""
        epoch, batches = (self.epoch + 1, 0) if self.over else (self.epoch, self.batches)
        if self._tracked is not None:
            state = self._tracked.state(epoch, batches, fetched_ahead=False)
        else:
            seed = self._seed if batches else self._next_seed
            state = {"epoch": epoch, "batches": batches, "seed": seed}
            if seed != self._next_seed:
                state["next_seed"] = self._next_seed
        return {**state, "unread": True} if self.is_unread else state

    def resume(self, stored: Mapping[str, Any], now: dict[str, Any], seed: int | None) -> None:
        """Continue at a stored position; see `position.LoaderPosition.resume`."""
        # A pass that was begun may have nothing left.
        self.epoch, self._given = stored["epoch"], stored["batches"] > 0
        if self._tracked is not None:
            self.batches = self._tracked.resume(stored, now, seed)
            self._skipped = self.batches if self._tracked.kind == "iterable" else 0
        else:
            self.batches = self._skipped = stored["batches"]
            self._seed = stored["seed"]
            self._next_seed = stored.get("next_seed", self._seed) if seed is None else seed

    @property
    def divided(self) -> int:
        """Among how many processes the order is divided."""
        return 1 if self._tracked is None else self._tracked.divided

    def redrawn_by(self, stored: Mapping[str, Any], seeds: Sequence[int]) -> dict[str, Any]:
        """Convert a stored position; see `position.LoaderPosition.redrawn_by`."""
        return dict(stored) if self._tracked is None else self._tracked.redrawn_by(stored, seeds)

    def in_changed_data(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Convert a stored position for data that has changed since; see `growth`."""
        if self._tracked is None:
            return growth.place(stored, 0)
        return self._tracked.in_changed_data(stored)

    def close(self) -> None:
        """Leave the loader as it was."""
        self._items = None
        if is_plain(self.source):
            tracking.untrack(self.source)

    @property
    def position(self) -> float:
        """Epochs so far, with the fraction of the current one if its length is known."""
        length = self._length()
        if self.over:
            return float(self.epoch + 1)
        return self.epoch + (self.batches / length if length else 0.0)

    def _begin(self) -> None:
        if not self._first:
            self.epoch, self.batches, self._seed = self.epoch + 1, 0, self._next_seed
            self._given = False
        self._first = self.over = False
        _tell_epoch(self.source, self.epoch)
        if self._tracked is not None:
            self._tracked.begin(self.epoch)
            self._items = iter(self.source)
        else:
            with self._keyed(-1):
                self._items = iter(self.source)
        self._skip()

    def _change(self) -> None:
        """Make the rest of this pass with the present settings."""
        assert self._tracked is not None
        if not self._tracked.has_workers and self._held is _END:
            # Nothing is fetched ahead.
            self.settings.enter(fresh=False)
            return
        # Workers end with the iterator that started them.
        self._items, self._held = None, _END
        skipped = self._tracked.restart_pass(self.epoch, self.batches, fetched_ahead=False)
        self._skipped = skipped if self._tracked.kind == "iterable" else 0
        self._items = iter(self.source)
        self._skip()

    def _skip(self) -> None:
        skipped, self._skipped = self._skipped, 0
        for number in range(skipped):
            if self._fetch(number) is _END:
                return

    def _fetch(self, number: int | None = None) -> Any:
        assert self._items is not None
        if self._tracked is not None:
            return next(self._items, _END)
        with self._keyed(self.batches if number is None else number):
            return next(self._items, _END)

    def _look_for_the_end(self) -> None:
        """After the last batch: some samplers draw once more before they end."""
        if self._tracked is not None and self._tracked.kind == "map":
            length = self._length()
            if length and self.batches >= length:
                self._held = self._fetch()
                self.over = self._held is _END

    def _end(self) -> None:
        if not self._given:
            raise InvalidInput("data", self.source, "what gives at least one batch in each pass")
        self._items = None

    def _length(self) -> int | None:
        try:
            return len(self.source)
        except TypeError:
            return None

    @contextmanager
    def _keyed(self, number: int) -> Iterator[None]:
        outside = rng.capture(devices=False)
        rng.seed(self._seed, self.epoch, number)
        try:
            yield
        finally:
            rng.restore(outside)


def is_plain(source: Any) -> bool:
    """Return whether it is a DataLoader with torch's own iteration."""
    return isinstance(source, DataLoader) and type(source).__iter__ is DataLoader.__iter__


def batch_size(source: Any) -> int | None:
    """Return the batch size of a DataLoader if it can be changed; None for anything else."""
    if not is_plain(source) or isinstance(source.dataset, IterDataPipe):
        return None
    sampler = source.batch_sampler
    plain = sampler.inner if isinstance(sampler, Batches) else sampler
    return int(plain.batch_size) if type(plain) is BatchSampler else None


def give_batch_size(source: DataLoader[Any], size: int) -> None:
    """Make a DataLoader use another batch size from its next pass on."""
    sampler: Any = source.batch_sampler
    sampler.batch_size = size
    # torch refuses the change, since an iterator made before would not see it.
    object.__setattr__(source, "batch_size", size)


def describe(source: Any) -> dict[str, Any]:
    """Return what a script requests with its data, as plain values to compare at a resume."""
    if source is None:
        return {}
    try:
        facts: dict[str, Any] = {"dataset_length": len(getattr(source, "dataset", source))}
    except TypeError:
        facts = {"dataset_length": None}
    if isinstance(source, DataLoader):
        sampler = getattr(source.batch_sampler, "sampler", source.sampler)
        facts |= {
            "batch_size": batch_size(source),
            "drop_last": source.drop_last,
            "sampler": type(sampler).__name__,
            "num_workers": source.num_workers,
        }
    return facts | declared_values(source)


def _tell_epoch(source: Any, epoch: int) -> None:
    """Pass the number to the object that draws its order from it; an endless loop cannot."""
    sampler = getattr(source, "batch_sampler", None)
    parts = [source, getattr(source, "dataset", None), sampler, getattr(sampler, "sampler", None)]
    for component in {id(candidate): candidate for candidate in parts}.values():
        set_epoch = getattr(component, "set_epoch", None)
        if callable(set_epoch):
            set_epoch(epoch)
