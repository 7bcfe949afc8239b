"""Where a Hugging Face Trainer is in its data, counted as its loop counts: epochs and batches.

The loop computes its position from the number of updates, which holds only while batch size,
accumulation and the number of passes stay unchanged. Here it is counted.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from accelerate.data_loader import DataLoaderDispatcher, DataLoaderShard, skip_first_batches
from torch.utils.data import DataLoader

from branchtrack.training.data import growth, tracking
from branchtrack.training.settings.dataset_settings import DataSettings

_OF_ACCELERATE = (DataLoaderShard, DataLoaderDispatcher)


@dataclass(frozen=True)
class Bounds:
    """The limits that a script's own loop would have: its epochs, the updates of each, and the last
    update, with ``accumulation`` batches for each.
    """

    epochs: int
    per_epoch: int
    max_steps: int
    accumulation: int


class TrainerPosition:
    """The position of a training in the batches of one loader.

    ``epoch`` is the current pass and ``batches`` how many of it were trained on (those left out by
    a resume count); ``over`` is true once the pass has ended. ``made_for`` is the batch size that
    the training had when it requested the loader.
    """

    def __init__(self, loader: Any, seed: int, made_for: int) -> None:
        self.made_for = made_for
        self.epoch = self.batches = self._newest = 0
        self.over = False
        base = getattr(loader, "base_dataloader", loader)
        shard = type(loader) in _OF_ACCELERATE
        is_torch = type(base) is DataLoader
        self.tracked = tracking.track(base, seed, placeholders=True) if is_torch else None
        # accelerate fetches one batch more than it yields, to know which is the last.
        self._ahead, self._loader = shard, loader
        self._reading: Any = loader
        self._restarted: Iterator[Any] | None = None
        self._first, self._within = True, False

    def state(self) -> dict[str, Any]:
        """Return what a resume needs to continue exactly here, as tensors and plain values."""
        epoch, batches = (self.epoch + 1, 0) if self.over else (self.epoch, self.batches)
        if self.tracked is None:
            return {"epoch": epoch, "batches": batches}
        return self.tracked.state(epoch, batches, fetched_ahead=self._ahead)

    def resume(self, stored: Mapping[str, Any], now: dict[str, Any], seed: int | None) -> None:
        """Continue at a stored position; see `position.LoaderPosition.resume`."""
        self.epoch, self.batches = stored["epoch"], stored["batches"]
        self._within = self.batches > 0
        if self.tracked is not None:
            self.batches = self.tracked.resume(stored, now, seed)

    @property
    def divided(self) -> int:
        """Among how many processes the order is divided."""
        return 1 if self.tracked is None else self.tracked.divided

    def redrawn_by(self, stored: Mapping[str, Any], seeds: Sequence[int]) -> dict[str, Any]:
        """Convert a stored position; see `position.LoaderPosition.redrawn_by`."""
        return dict(stored) if self.tracked is None else self.tracked.redrawn_by(stored, seeds)

    def in_changed_data(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Convert a stored position for data that has changed since; see `growth`."""
        if self.tracked is None:
            return growth.place(stored, 0)
        return self.tracked.in_changed_data(stored)

    @property
    def settings(self) -> DataSettings | None:
        """The settings that the datasets of a tracked loader declare."""
        return None if self.tracked is None else self.tracked.settings

    @property
    def batch_size(self) -> int | None:
        """The samples of a batch, if the loader has such a number; a sampler's own need not."""
        base = getattr(self._loader, "base_dataloader", self._loader)
        size = getattr(base, "batch_size", None)
        if size is None:
            size = getattr(getattr(base, "batch_sampler", None), "batch_size", None)
        return size if isinstance(size, int) else None

    @property
    def began_within(self) -> bool:
        """Whether the first pass began in the middle, and random states are restored within it."""
        return self.tracked is not None and self._within

    def begin(self) -> None:
        """Begin a pass: the first, or the next one."""
        if not self._first:
            self.epoch, self.batches = self.epoch + 1, 0
        self._first = self.over = False
        self._reading, self._restarted = self._loader, None
        if isinstance(self._loader, _OF_ACCELERATE):
            # A pass that is continued is read from a copy, which would not get the number.
            self._loader.iteration = self.epoch
        if self.tracked is not None:
            self.tracked.begin(self.epoch)

    def left(self) -> int:
        """Return how many batches of the pass are not fetched yet, for a loader with a length."""
        return max(0, len(self._loader) - self.batches)

    def reading(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Return the source of an update's batches: ``batches`` of the Trainer, or those of this
        pass that were made again with other settings of the data.
        """
        settings, source = self.settings, batches if self._restarted is None else self._restarted
        if settings is None or not settings.declared:
            return source
        if settings.is_stale:
            source = self._restarted = self._restart_pass(source)
        settings.mark()
        return (settings.open(batch) for batch in source)

    def wanted(self, count: int, accumulation: int) -> int:
        """Return how many of ``count`` batches to fetch for an update: fewer to get in step."""
        return count - self.batches % accumulation

    def fetched(self, count: int) -> None:
        """Note that batches were fetched, to be trained on now."""
        self._newest = count
        self.batches += count
        if self.tracked is not None:
            self.tracked.settle()

    @contextmanager
    def before_fetching(self) -> Iterator[None]:
        """Within the block, use the position before the last fetched batches."""
        previous = self.batches, self._ahead
        self.batches, self._ahead = self.batches - self._newest, False
        settings = self.settings
        try:
            with nullcontext() if settings is None else settings.before_newest():
                yield
        finally:
            self.batches, self._ahead = previous

    def end(self, *, cut_short: bool) -> None:
        """End the pass; ``cut_short``: training stops, possibly in the middle of it."""
        try:
            left = self.batches < len(self._loader)
        except TypeError:
            left = True
        self.over = not (cut_short and left)

    def _restart_pass(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Return the rest of this pass, as for a Trainer resumed here; ``batches`` end."""
        assert self.tracked is not None
        if not self._ahead and not self.tracked.has_workers:
            # Nothing is fetched ahead.
            self.tracked.settings.enter(fresh=False)
            return batches
        # Workers end with the iterator that started them.
        if isinstance(batches, Generator):
            batches.close()
        if isinstance(self._reading, _OF_ACCELERATE):
            self._reading.end()
        skipped = self.tracked.restart_pass(self.epoch, self.batches, fetched_ahead=self._ahead)
        self._reading = skip_first_batches(self._loader, skipped) if skipped else self._loader
        return iter(self._reading)
