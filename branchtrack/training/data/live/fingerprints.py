"""Fingerprints of shards: the SHA-256 of a file's bytes, a folder's files or an object's items."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import TensorDataset

from branchtrack.training import contents
from branchtrack.training.data.live.readers import files_of

#: What says that a file was not written to since: its number, size and times.
Stamp = tuple[int, int, int, int]


def stamp_of(path: Path) -> Stamp:
    """Return what a file looked like just now, without reading it.

    Raises:
        OSError: it is not there.
    """
    stat = os.stat(path)
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def of_path(path: Path) -> str:
    """Return the fingerprint of a file, or of the relative paths and contents of a folder's files.

    Raises:
        OSError: it cannot be read.
    """
    if not path.is_dir():
        return _of_file(path)
    digest = hashlib.sha256()
    for file in files_of(path):
        digest.update(f"{file.relative_to(path).as_posix()}\0{_of_file(file)}\n".encode())
    return digest.hexdigest()


def of_items(items: Sequence[Any]) -> str:
    """Return the fingerprint of a dataset in memory: of all its items, in order.

    Arrow tables, tensors and arrays are hashed as a whole, anything else item by item.
    """
    digest = hashlib.sha256()
    if _is_table(items):
        _feed_table(digest, items)
    elif isinstance(items, TensorDataset):
        contents.feed(digest, items.tensors)
    elif hasattr(items, "dtype") and hasattr(items, "shape"):
        contents.feed(digest, items)
    else:
        for index in range(len(items)):
            contents.feed(digest, items[index])
    return digest.hexdigest()


def _of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_table(items: Any) -> bool:
    return type(items).__module__.startswith("datasets.") and hasattr(items, "with_format")


def _feed_table(digest: Any, table: Any) -> None:
    """Feed the rows of a table of `datasets`, whose own fingerprint depends on how it was made."""
    digest.update(f"{table.features}".encode())
    for batch in table.with_format("arrow").iter(batch_size=1000):
        for record_batch in batch.combine_chunks().to_batches():
            digest.update(record_batch.serialize())
