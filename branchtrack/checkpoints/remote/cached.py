"""A bucket with copies of its packs on this machine: read there, fetched when it pays.

A short pack is fetched whole when it is first read; of a long one only what is read, until that is
an eighth of it: whoever restores a state reads most of its packs. It must not know what the bytes
mean; whoever finds a copy damaged drops it (`CachedBucket.drop`) and reads again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BufferedReader
from pathlib import Path

from branchtrack.checkpoints.backend import Chunk, Copies, ListedPack
from branchtrack.checkpoints.remote.bucket import Bucket
from branchtrack.checkpoints.remote.bucket_errors import BucketError
from branchtrack.checkpoints.remote.pack_cache import PackCache
from branchtrack.checkpoints.remote.range_file import RangeFile

#: Bytes of a pack that is fetched whole at once, and of the pieces that it is fetched in.
_SHORT, _PIECE = 16 * 1024 * 1024, 8 * 1024 * 1024
_AT_ONCE = 4
_SHARE = 8
_KNOWN = 4096


class CachedBucket:
    """The backend over a bucket, with a cache; its own ``copies``."""

    def __init__(
        self, bucket: Bucket, cache: PackCache, announce: Callable[[], None] = lambda: None
    ) -> None:
        self._bucket, self._cache, self._announce = bucket, cache, announce
        self._sizes: dict[str, int] = {}
        self._bytes_read: dict[str, int] = {}

    @property
    def copies(self) -> Copies | None:
        """The copies on this machine."""
        return self

    def put(self, pack: str, chunks: Iterable[Chunk]) -> None:
        """Store a pack in the bucket."""
        self._announce()
        self._cache.drop(pack)
        self._bucket.put(pack, chunks)

    def open(self, pack: str) -> BufferedReader:
        """Open the copy of a pack, or the pack itself; it is copied if that is worth it."""
        file = self._cache.open(pack)
        if file is not None:
            return file
        size = self._size(pack)
        read = self._bytes_read.get(pack, 0)
        if self._cache.takes(size) and (size <= _SHORT or read * _SHARE >= size):
            try:
                self._fetch(pack, size)
            except (FileNotFoundError, BucketError):
                raise
            except OSError:
                # The disk of the copies failed: it is read without them.
                pass
            file = self._cache.open(pack)
        return file or BufferedReader(RangeFile(size, partial(self._range, pack)))

    def open_source(self, pack: str) -> BufferedReader:
        """Open the pack in the bucket, whatever copies there are."""
        return self._bucket.open(pack)

    def drop(self, pack: str) -> bool:
        """Delete the copy of a pack, which was damaged; return whether there was one."""
        return self._cache.drop(pack)

    def adopt(self, pack: str, path: Path) -> None:
        """Make a file on this machine that holds a pack its copy."""
        self._cache.adopt(pack, path)

    def exists(self, pack: str) -> bool:
        """Return whether a pack is in the bucket."""
        return self._bucket.exists(pack)

    def list(self) -> Iterator[ListedPack]:
        """Yield every pack in the bucket."""
        return self._bucket.list()

    def delete(self, pack: str) -> None:
        """Remove a pack, and its copy."""
        self._cache.drop(pack)
        self._bucket.delete(pack)

    def describe(self, pack: str | None = None) -> str:
        """Return the address of a pack or of the store."""
        return self._bucket.describe(pack)

    def is_present(self) -> bool:
        """Return whether the bucket exists and answers."""
        return self._bucket.is_present()

    def unfinished(self) -> Iterator[ListedPack]:
        """Yield uploads in parts that were begun and not completed."""
        return self._bucket.unfinished()

    def delete_unfinished(self, is_abandoned: Callable[[str, float], bool]) -> int:
        """Abort such uploads; see `Bucket.delete_unfinished`."""
        return self._bucket.delete_unfinished(is_abandoned)

    def check(self) -> Sequence[tuple[str, str]]:
        """Try what a store needs; see `Bucket.check`."""
        return self._bucket.check()

    def _size(self, pack: str) -> int:
        if pack not in self._sizes:
            if len(self._sizes) >= _KNOWN:
                self._sizes = {}
                self._bytes_read = {}
            self._sizes[pack] = self._bucket.size(pack)
        return self._sizes[pack]

    def _range(self, pack: str, start: int, length: int) -> bytes:
        self._bytes_read[pack] = self._bytes_read.get(pack, 0) + length
        return self._bucket.range(pack, start, length)

    def _fetch(self, pack: str, size: int) -> None:
        """Copy a pack, in several requests at once."""

        def write(file: int) -> None:
            def piece(start: int) -> None:
                content = self._bucket.range(pack, start, min(_PIECE, size - start))
                while content:
                    written = os.pwrite(file, content, start)
                    content, start = content[written:], start + written

            starts = range(0, size, _PIECE)
            with ThreadPoolExecutor(min(_AT_ONCE, max(1, len(starts)))) as pool:
                list(pool.map(piece, starts))

        self._cache.add(pack, size, write)
