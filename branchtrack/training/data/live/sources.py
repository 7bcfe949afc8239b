"""Sources of shards that are open: a file, a folder, or an object of the script.

Items that are read from disk each time are those of the fingerprint, or an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from branchtrack.core.shards.composition import Shard
from branchtrack.errors import DataChanged, InvalidInput
from branchtrack.training.data.live import fingerprints, readers
from branchtrack.training.data.live.fingerprints import Stamp
from branchtrack.training.data.live.readers import Reader

_IN_MEMORY = (list, tuple, torch.Tensor)
#: Files of a folder that are looked at for each item.
_LOOKED_AT = 16


class Source:
    """The items of a shard, and what their content is; ``path`` is None for an object."""

    def __init__(
        self, items: Sequence[Any], fingerprint: str, files: dict[Path, Stamp], path: Path | None
    ) -> None:
        self.items, self.fingerprint, self.path = items, fingerprint, path
        #: Files that items are still read from, and the number of the next one to look at.
        self._files = {} if _is_in_memory(items) else files
        self._next = 0

    def __len__(self) -> int:
        return len(self.items)

    def item(self, index: int, name: str) -> Any:
        """Return an item of the shard ``name``.

        Raises:
            DataChanged: its file is not what it was.
        """
        if self._files:
            self._check(name)
        return self.items[index]

    def shard(self, name: str, weight: float | None = None) -> Shard:
        """Return what a composition holds of it."""
        path = "" if self.path is None else str(self.path)
        return Shard(name, weight, self.fingerprint, len(self.items), path)

    def _check(self, name: str) -> None:
        """Look at some of the files, in turn: which of them an item is from is not known."""
        paths = list(self._files)
        for path in paths[self._next : self._next + _LOOKED_AT]:
            try:
                stamp = fingerprints.stamp_of(path)
                if stamp == self._files[path]:
                    continue
                # Touched or moved, but possibly not changed.
                current = fingerprints.of_path(self.path or path)
            except OSError as error:
                raise vanished(name, str(path), error) from error
            if current != self.fingerprint:
                raise changed(name, str(path), self.fingerprint, current)
            self._files[path] = stamp
        self._next = self._next + _LOOKED_AT if self._next + _LOOKED_AT < len(paths) else 0


def open_path(path: Path, read: Reader | None) -> Source:
    """Return the items of a file or folder.

    Raises:
        InvalidInput: it is not there, has no items, or cannot be read.
    """
    if not path.exists():
        raise readers.unusable(path, "it is not there", "a file or folder that is there")
    try:
        files = readers.files_of(path) if path.is_dir() else [path]
        stamps = {file: fingerprints.stamp_of(file) for file in files}
        items = _items(path, files, read)
        fingerprint = fingerprints.of_path(path)
        if stamps != {file: fingerprints.stamp_of(file) for file in files}:
            why = "it was written to while it was read"
            raise readers.unusable(path, why, "a file that nobody writes to any more")
    except OSError as error:
        raise readers.unusable(path, str(error), "a file or folder that can be read") from error
    if not len(items):
        raise readers.unusable(path, "it has no items", "a file or folder with at least one item")
    return Source(items, fingerprint, stamps, path)


def open_items(items: Any, name: str) -> Source:
    """Return an object of the script as a source.

    Raises:
        InvalidInput: it is no map dataset, or has no items.
    """
    try:
        count = len(items)
        fingerprint = fingerprints.of_items(items)
    except (TypeError, KeyError, AttributeError, NotImplementedError) as error:
        allowed = "a path, or a map dataset: what has a length, and items by their number"
        raise InvalidInput(f"shards.{name}", type(items).__name__, allowed) from error
    if not count:
        raise InvalidInput(f"shards.{name}", items, "a dataset with at least one item")
    return Source(items, fingerprint, {}, None)


def vanished(name: str, path: str, error: Exception) -> DataChanged:
    """Return the error for a shard whose source cannot be read any more."""
    return DataChanged(
        f"Shard {name} of the data cannot be read any more from {path}: {error}",
        safe="No other samples were drawn in its place.",
        fix="Put the file back, or remove the shard from the data: branchtrack data RUN "
        f"--remove {name}, or continue a node from before it was added.",
        shard=name,
        source=path,
    )


def changed(name: str, path: str, expected: str, current: str) -> DataChanged:
    """Return the error for a shard whose source has another content now."""
    return DataChanged(
        f"Shard {name} of the data is not what it was: {path or 'an object of the script'} has "
        f"fingerprint {current[:12]} instead of {expected[:12]}.",
        safe="No other samples were drawn in its place.",
        fix="Put the earlier content back, and add the new one as a shard of its own.",
        shard=name,
        source=path,
    )


def _items(path: Path, files: list[Path], read: Reader | None) -> Any:
    if read is not None:
        return read(path)
    if path.is_dir():
        return readers.joined([readers.read(file) for file in files])
    return readers.read(path)


def _is_in_memory(items: Any) -> bool:
    if isinstance(items, np.ndarray):
        return not isinstance(items, np.memmap)
    return isinstance(items, _IN_MEMORY) or type(items).__module__.endswith(".live.readers")
