"""Where a Hugging Face Trainer is in its data, counted as its loop counts: epochs and batches.

The loop works its place out from the number of updates, which holds only while batch size,
accumulation and the number of passes stay what they were. Here it is counted.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from accelerate.data_loader import DataLoaderDispatcher, DataLoaderShard, skip_first_batches
from torch.utils.data import DataLoader

from branchtrack.training.data import growth, tracking
from branchtrack.training.settings.dataset_settings import DataSettings

_OF_ACCELERATE = (DataLoaderShard, DataLoaderDispatcher)


class Place:
    """The place of a training in the batches of one loader.

    ``epoch`` is the pass that is going on and ``batches`` how many of it were trained on (those
    left out by a resume count); ``over`` once the pass has come to its end. ``made_for`` is the
    batch size that the training had when it asked for the loader.
    """

    def __init__(self, loader: Any, seed: int, made_for: int) -> None:
        self.made_for = made_for
        self.epoch = self.batches = self._newest = 0
        self.over = False
        base = getattr(loader, "base_dataloader", loader)
        shard = type(loader) in _OF_ACCELERATE
        is_torch = type(base) is DataLoader
        self.tracked = tracking.track(base, seed, placeholders=True) if is_torch else None
        # accelerate fetches one batch more than it gives, to know which is the last.
        self._ahead, self._loader = shard, loader
        self._reading: Any = loader
        self._again: Iterator[Any] | None = None
        self._first, self._within = True, False

    def state(self) -> dict[str, Any]:
        """What a resume needs to go on exactly here, as tensors and plain values."""
        epoch, batches = (self.epoch + 1, 0) if self.over else (self.epoch, self.batches)
        if self.tracked is None:
            return {"epoch": epoch, "batches": batches}
        return self.tracked.state(epoch, batches, fetched_ahead=self._ahead)

    def resume(self, stored: Mapping[str, Any], now: dict[str, Any], seed: int | None) -> None:
        """Go on at a stored place; see `data.Tracked.resume`."""
        self.epoch, self.batches = stored["epoch"], stored["batches"]
        self._within = self.batches > 0
        if self.tracked is not None:
            self.batches = self.tracked.resume(stored, now, seed)

    def elsewhere(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """A stored place as one in data that has changed since; see `changed_data`."""
        return growth.place(stored, 0) if self.tracked is None else (self.tracked.elsewhere(stored))

    @property
    def settings(self) -> DataSettings | None:
        """Those that the datasets of a tracked loader declare."""
        return None if self.tracked is None else self.tracked.settings

    @property
    def batch_size(self) -> int | None:
        """The samples of a batch, as far as the loader tells; a sampler's own need not."""
        base = getattr(self._loader, "base_dataloader", self._loader)
        size = getattr(base, "batch_size", None)
        if size is None:
            size = getattr(getattr(base, "batch_sampler", None), "batch_size", None)
        return size if isinstance(size, int) else None

    @property
    def began_within(self) -> bool:
        """Whether the first pass began in the middle, and random states come back within it."""
        return self.tracked is not None and self._within

    def begin(self) -> None:
        """A pass begins: the first, or that behind the one before."""
        if not self._first:
            self.epoch, self.batches = self.epoch + 1, 0
        self._first = self.over = False
        self._reading, self._again = self._loader, None
        if isinstance(self._loader, _OF_ACCELERATE):
            # A pass that is gone on with is read from a copy, and this one would not be told.
            self._loader.iteration = self.epoch
        if self.tracked is not None:
            self.tracked.begin(self.epoch)

    def left(self) -> int:
        """How many batches of the pass have not been fetched, of a loader that has a length."""
        return max(0, len(self._loader) - self.batches)

    def reading(self, batches: Iterator[Any]) -> Iterator[Any]:
        """What the batches of an update are to be taken from: ``batches`` of the Trainer, or those
        of this pass that were made again with other settings of the data.
        """
        settings, source = self.settings, batches if self._again is None else self._again
        if settings is None or not settings.declared:
            return source
        if settings.is_stale:
            source = self._again = self._begin_again(source)
        settings.mark()
        return (settings.open(batch) for batch in source)

    def wanted(self, count: int, accumulation: int) -> int:
        """How many of ``count`` batches are fetched for an update: fewer to come into step."""
        return count - self.batches % accumulation

    def fetched(self, count: int) -> None:
        """Note that batches were fetched, to be trained on now."""
        self._newest = count
        self.batches += count
        if self.tracked is not None:
            self.tracked.settle()

    @contextmanager
    def before_fetching(self) -> Iterator[None]:
        """Within the block the place is the one before the batches fetched last."""
        previous = self.batches, self._ahead
        self.batches, self._ahead = self.batches - self._newest, False
        settings = self.settings
        try:
            with nullcontext() if settings is None else settings.before_newest():
                yield
        finally:
            self.batches, self._ahead = previous

    def end(self, *, cut_short: bool) -> None:
        """The pass is over; ``cut_short``: training stops, perhaps in the middle of it."""
        try:
            left = self.batches < len(self._loader)
        except TypeError:
            left = True
        self.over = not (cut_short and left)

    def _begin_again(self, batches: Iterator[Any]) -> Iterator[Any]:
        """The rest of this pass, as a Trainer that is resumed here has it; ``batches`` end."""
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
        skipped = self.tracked.again(self.epoch, self.batches, fetched_ahead=self._ahead)
        self._reading = skip_first_batches(self._loader, skipped) if skipped else self._loader
        return iter(self._reading)
