"""A limit for the output of a launched process, which keeps its first part and its newest.

The process itself writes the file, so that its output survives any worker, and it has the file open
for as long as it lives; therefore the file can neither be renamed nor be made anew. It is shortened
in its place. The process appends (``O_APPEND``), so that its next line goes to wherever the file
ends by then:

1. what has to stay of the end is read, and written over the middle, behind a line that says how
   many bytes were dropped; what the process printed meanwhile is read and written after it, until
   there is nothing more;
2. the file is cut after that.

If the worker dies in between, the file has its end twice and nothing is missing; the next worker
shortens it again. What the process prints between the last look and the cut, which follow each
other immediately, would be lost. Without any worker a file grows until one comes. It must not know
launches.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from branchtrack.environment_variables import LOG_LIMIT_VARIABLE
from branchtrack.errors import InvalidInput

#: Bytes of a log, if the environment names no other number.
LIMIT = 16 * 1024 * 1024
_LEAST = 4096
_MARK = re.compile(rb"\n\[branchtrack: (\d+) bytes of this output were dropped here\]\n")
_LONGEST_MARK = 200


def limit_in_force(text: str | None = None) -> int:
    """Return the bytes that a log may have; ``text`` stands for the variable of the environment.

    Raises:
        InvalidInput: it is not a number of bytes from 4,096 on.
    """
    text = os.environ.get(LOG_LIMIT_VARIABLE, "") if text is None else text
    if not text.strip():
        return LIMIT
    if not text.strip().isdecimal() or int(text) < _LEAST:
        raise InvalidInput(LOG_LIMIT_VARIABLE, text, f"a number of bytes, at least {_LEAST:,}")
    return int(text)


def shorten(log: Path, limit: int) -> int:
    """Shorten a file that is longer than ``limit``, and return the bytes dropped in all so far.

    A quarter of the limit is kept of the beginning and half of it of the end, so that the next time
    is not at once. It returns 0 if the file is short enough or cannot be read or written.
    """
    try:
        if log.stat().st_size <= limit:
            return 0
        # Not for appending: the middle is written over.
        file = os.open(log, os.O_RDWR)
    except OSError:
        return 0
    try:
        return _shorten(file, limit // 4, limit // 2)
    except OSError:
        return 0
    finally:
        os.close(file)


def _shorten(file: int, first: int, newest: int) -> int:
    earlier = _MARK.match(os.pread(file, _LONGEST_MARK, first))
    size = os.fstat(file).st_size
    start = size - newest
    end = os.pread(file, newest, start)
    # Whole lines, if there are any.
    line = end.find(b"\n") + 1
    start, end = start + line, end[line:]
    dropped = start - first
    if earlier is not None:
        dropped += int(earlier[1]) - len(earlier[0])
    mark = b"\n[branchtrack: %d bytes of this output were dropped here]\n" % dropped
    position = first + _write(file, mark + end, first)
    while os.fstat(file).st_size > size:
        more = os.pread(file, newest, size)
        size += len(more)
        position += _write(file, more, position)
    os.ftruncate(file, position)
    return dropped


def _write(file: int, content: bytes, position: int) -> int:
    written = 0
    while written < len(content):
        written += os.pwrite(file, content[written:], position + written)
    return written
