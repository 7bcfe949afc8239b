"""A file that is read by requests for ranges of bytes, as few as it takes.

It knows neither buckets nor packs: ``fetch`` brings the bytes.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

#: Bytes of the first request at a position, of the longest one read ahead, and of any.
_FIRST, _AHEAD, _MOST = 64 * 1024, 8 * 1024 * 1024, 32 * 1024 * 1024

Fetch = Callable[[int, int], bytes]


class RangeFile(io.RawIOBase):
    """A file of ``size`` bytes; ``fetch(start, length)`` returns that many, fewer never.

    Whoever reads on where the last read ended gets more ahead each time, up to 8 MiB.
    """

    def __init__(self, size: int, fetch: Fetch) -> None:
        super().__init__()
        self._size, self._fetch = size, fetch
        self._position, self._start, self._ahead = 0, 0, _FIRST
        self._buffer = memoryview(b"")

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def seekable(self) -> bool:
        """Return that it can seek, which costs nothing."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position; the next read brings its bytes."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read up to as many bytes as fit.

        Raises:
            OSError: that of ``fetch``, or the bytes are fewer than they should be.
        """
        view = memoryview(buffer).cast("B")
        length = min(len(view), self._size - self._position, _MOST)
        if length <= 0:
            return 0
        offset = self._position - self._start
        if not 0 <= offset < len(self._buffer):
            self._fill(length)
            offset = 0
        piece = self._buffer[offset : offset + length]
        view[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def _fill(self, length: int) -> None:
        is_next = self._position == self._start + len(self._buffer) and len(self._buffer) > 0
        self._ahead = min(2 * self._ahead, _AHEAD) if is_next else _FIRST
        amount = min(max(length, self._ahead), self._size - self._position)
        self._buffer = memoryview(self._fetch(self._position, amount))
        self._start = self._position
        if len(self._buffer) != amount:
            raise OSError(5, f"{len(self._buffer)} bytes came of {amount}")
