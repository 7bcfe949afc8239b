"""Sources of shards that are open: a file, a folder, or an object of the script.

Items that are read from disk each time are those of the fingerprint, or an error.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch

from branchtrack.core.shards.composition import Shard
from branchtrack.errors import BranchtrackError, DataChanged, InvalidInput
from branchtrack.training.data.live import fingerprints, readers
from branchtrack.training.data.live.fingerprints import Stamp
from branchtrack.training.data.live.readers import Reader

_IN_MEMORY = (list, tuple, torch.Tensor)
_READABLE = "a file or folder that can be read"


class Source:
    """The items of a shard, and what their content is; ``path`` is None for an object.

    ``files`` are those that items are read from, and ``ends`` the numbers of items up to the end of
    each, in order; none where only the script's own reader knows which item is in which file.
    """

    def __init__(
        self,
        items: Sequence[Any],
        fingerprint: str,
        path: Path | None = None,
        files: Mapping[Path, Stamp] | None = None,
        ends: Sequence[int] = (),
    ) -> None:
        self.items, self.fingerprint, self.path = items, fingerprint, path
        self._files = {} if _is_in_memory(items) else dict(files or {})
        self._ends = list(ends)

    def __len__(self) -> int:
        return len(self.items)

    def item(self, index: int, name: str) -> Any:
        """Return an item of the shard ``name``.

        Raises:
            DataChanged: its file is not what it was.
        """
        item = self.items[index]
        if self._files:
            # What is mapped would be read later; what was written meanwhile shows afterwards.
            item = np.array(item) if isinstance(item, np.memmap) else item
            self._check(index, name)
        return item

    def shard(self, name: str, weight: float | None = None) -> Shard:
        """Return what a composition holds of it."""
        path = "" if self.path is None else str(self.path)
        return Shard(name, weight, self.fingerprint, len(self.items), path)

    def _check(self, index: int, name: str) -> None:
        """Look at the file that an item is from; at all of them if it is not known."""
        paths = list(self._files)
        if self._ends:
            paths = [paths[bisect_right(self._ends, index)]]
        for path in paths:
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


def open_path(path: Path, read: Reader | None) -> Source:
    """Return the items of a file or folder.

    Raises:
        InvalidInput: it is not there, has no items, or cannot be read.
    """
    if not (path.is_file() or path.is_dir()):
        why = "it is neither a file nor a folder" if path.exists() else "it is not there"
        raise readers.unusable(path, why, "a file or folder that is there")
    try:
        files = readers.files_of(path) if path.is_dir() else [path]
        stamps = {file: fingerprints.stamp_of(file) for file in files}
        items, ends = _items(path, files, read)
        count = len(items)
        fingerprint = fingerprints.of_path(path)
        if stamps != {file: fingerprints.stamp_of(file) for file in files}:
            why = "it was written to while it was read"
            raise readers.unusable(path, why, "a file that nobody writes to any more")
    except OSError as error:
        raise readers.unusable(path, str(error), _READABLE) from error
    except BranchtrackError:
        raise
    except Exception as error:
        # Whatever a reader stumbles over: libraries have errors of their own for damaged files.
        raise readers.unusable(path, f"{type(error).__name__}: {error}", _READABLE) from error
    if not count:
        raise readers.unusable(path, "it has no items", "a file or folder with at least one item")
    return Source(items, fingerprint, path, stamps, ends)


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
    return Source(items, fingerprint)


def vanished(name: str, path: str, error: Exception) -> DataChanged:
    """Return the error for a shard whose source cannot be read any more."""
    return DataChanged(
        f"Shard {name} of the data cannot be read any more from {path}: {error}",
        safe="No other samples were drawn in its place.",
        fix=f'Put the file back, resume without it (--set data.shards="-{name}"), or resume a node '
        "from before it was added.",
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


def _items(path: Path, files: list[Path], read: Reader | None) -> tuple[Any, list[int]]:
    """Return the items of a path, and how many there are up to the end of each file, if known."""
    if read is not None:
        items = read(path)
        return items, [] if path.is_dir() else [len(items)]
    parts = [readers.read(file) for file in files]
    return readers.joined(parts), list(accumulate(len(part) for part in parts))


def _is_in_memory(items: Any) -> bool:
    if isinstance(items, np.ndarray):
        return not isinstance(items, np.memmap)
    return isinstance(items, _IN_MEMORY) or type(items).__module__.endswith(".live.readers")
