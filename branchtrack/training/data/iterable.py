"""Iterable datasets whose passes can be read again: each batch under random generators of its own.

Otherwise what an iterable dataset draws during training would depend on what the training drew.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from branchtrack.errors import InvalidInput
from branchtrack.training import rng
from branchtrack.training.data import workers
from branchtrack.training.settings.batch_tags import Tagged
from branchtrack.training.settings.dataset_settings import DataSettings


class Streamed(IterableDataset[Any]):
    """An iterable dataset in a loader, whose collate function is wrapped to run under it too.

    ``sizes`` are pairs (first item, batch size) of the pass: the batch size may have been changed
    in the middle of one. When a pass is read again, its dataset has the ``settings`` that it had
    the first time, item by item.
    """

    def __init__(self, loader: DataLoader[Any], settings: DataSettings) -> None:
        self.inner, self._settings = loader.dataset, settings
        self.sizes: list[tuple[int, int]] = [(0, loader.batch_size or 1)]
        self._size, self._drop_last = loader.batch_size or 1, loader.drop_last
        self._in_workers = bool(loader.num_workers)
        self._seed = self._epoch = self._served = self._left_out = 0
        self._outside: dict[str, Any] | None = None
        self._awaited = self._resumed = False
        self._items = self._count = 0
        loader.collate_fn = Collated(loader.collate_fn, self)

    def __len__(self) -> int:
        # Of one without a length it raises what the loader expects.
        return len(self.inner)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        if name == "inner":
            raise AttributeError(name)
        return getattr(self.inner, name)

    def begin(self, seed: int, epoch: int, *, fresh: bool) -> None:
        """Begin a pass; ``fresh``: from its start."""
        self._seed, self._epoch, self._served, self._awaited = seed, epoch, 0, True
        self._resumed = not fresh
        if fresh:
            self.sizes, self._left_out = [(0, self._size)], 0

    def started(self) -> None:
        """Note that the iteration of the pass has started; later ones do not belong to it."""
        self._awaited = False

    def resume(self, state: Mapping[str, Any]) -> int:
        """Make the next pass the one of a stored position; return how many batches to skip.

        Raises:
            InvalidInput: another batch size in a pass that workers share.
        """
        self.sizes = [(int(first), int(size)) for first, size in state["sizes"]]
        if self.sizes[-1][1] == self._size:
            self._left_out = self.sizes[-1][0]
            return int(state["batches"])
        if self._in_workers:
            raise InvalidInput(
                "batch_size",
                self._size,
                f"{self.sizes[-1][1]}, as in the node",
                what="The batch size cannot be changed within a pass over an iterable dataset "
                "that several workers read.",
            )
        self._left_out = state["samples"]
        self.sizes.append((self._left_out, self._size))
        return 0

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        if worker is None and not self._awaited:
            # Read outside the pass, as without branchtrack.
            yield from iter(self.inner)
            return
        workers.outlive_signals()
        if worker is None:
            self._awaited = False
        # A worker that outlives a pass keeps the copy of this that it was started with.
        left_out = self._left_out if not self._served else 0
        past = self._past("0" if worker is None else str(worker.id))
        self._items = self._count = 0
        epoch, self._served = self._epoch + self._served, self._served + 1
        key = (self._seed, epoch, 0 if worker is None else worker.id)
        items: Iterator[Any] | None = None
        left = size = 0
        for index in itertools.count():
            while past and past[0][0] <= index:
                self._settings.replay(past.pop(0)[1])
            if not left:
                left = size = self._size_at(index)
                self._enter((*key, index))
            try:
                items = iter(self.inner) if items is None else items
                item = next(items)
            except BaseException as error:
                if left == size or self._drop_last or not isinstance(error, StopIteration):
                    self.leave()
                if isinstance(error, StopIteration):
                    return
                raise
            left -= 1
            self._items = index + 1
            if index >= left_out:
                self._count += 1
                yield item

    def tag(self) -> str | None:
        """Return the tag of the batch being made; None if it does not belong to the pass."""
        worker, count = get_worker_info(), self._count
        is_of_pass = self._outside is not None if worker is None else self._awaited
        if not is_of_pass or not self._settings.declared:
            return None
        self._count = 0
        position = {"worker": str(0 if worker is None else worker.id), "items": self._items}
        return json.dumps({"values": self._settings.values(), "count": count, **position})

    def leave(self) -> None:
        """Restore the process's own generators."""
        if self._outside is not None:
            rng.restore(self._outside)
            self._outside = None

    def _past(self, worker: str) -> list[tuple[int, dict[str, Any]]]:
        """Return the settings of a pass that is read again; a persistent worker has them."""
        again = self._resumed and not self._served
        return self._settings.history(worker) if again and self._settings.declared else []

    def _enter(self, key: tuple[int, ...]) -> None:
        if self._outside is None and get_worker_info() is None:
            self._outside = rng.capture(devices=False)
        rng.seed(*key)

    def _size_at(self, index: int) -> int:
        return next(size for first, size in reversed(self.sizes) if first <= index)


class Collated:
    """A collate function that ends the batch that `Streamed` began."""

    def __init__(self, collate: Any, stream: Streamed) -> None:
        self.collate, self.stream = collate, stream

    def __call__(self, items: Any) -> Any:
        try:
            batch, tag = self.collate(items), self.stream.tag()
            return batch if tag is None else Tagged(batch, tag)
        finally:
            self.stream.leave()
