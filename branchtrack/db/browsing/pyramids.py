"""Pyramids: a block of points as buckets of 64, written when the block is sealed.

Made from blocks alone, and not sealed. A block without one, of an earlier version, is read whole
until `fill` has made it; nothing else differs.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Select, and_, func, select, tuple_

from branchtrack.db.browsing.buckets import WEIGHTS, Buckets, Floats, Gaps, Ints
from branchtrack.db.browsing.tables import metric_pyramids
from branchtrack.db.tables import metric_blocks, metric_series, segments

#: A block: its series and first step.
Key = tuple[int, int]
START: Key = (0, -1)
#: Blocks that are read at once, some 12 MB.
CHUNK = 500
#: Points of a bucket.
SIZE = 64
#: Another layout, another meaning or other weights: another version.
_VERSION = 1
#: Version, buckets, gaps.
_HEAD = struct.Struct("<HHI")
_WHOLE = ("first", "steps", "low_step", "high_step")
_NUMBERS = (
    *("low", "high", "low_time", "high_time"),
    *("first_value", "first_time", "last", "times"),
)
_COUNTS = ("count", "broken")
_BUCKET = np.dtype(
    [
        *((name, "<i8") for name in _WHOLE),
        *((name, "<f8") for name in _NUMBERS),
        *((name, "<u2") for name in _COUNTS),
        ("carries", "<f8", (len(WEIGHTS),)),
    ]
)
_GAP = np.dtype([("steps", "<i8"), ("values", "<f8"), ("times", "<f8"), ("follows", "?")])


def write(
    connection: Connection, series_id: int, steps: Ints, values: Floats, times: Floats
) -> None:
    """Store the pyramid of a block in place of the one that there may be."""
    first = int(steps[0])
    remove(connection, series_id, first)
    content = packed(Buckets.grouped(steps, values, times, SIZE))
    row = {"series_id": series_id, "first_step": first, "content": content}
    connection.execute(metric_pyramids.insert(), row)


def remove(connection: Connection, series_id: int, first_step: int) -> None:
    """Remove the pyramid of a block, if it has one."""
    of_block = (metric_pyramids.c.series_id == series_id) & (
        metric_pyramids.c.first_step == first_step
    )
    connection.execute(metric_pyramids.delete().where(of_block))


def count_missing(connection: Connection) -> int:
    """Return how many blocks have no pyramid."""
    blocks = _without(None).with_only_columns(func.count(metric_blocks.c.series_id))
    return int(connection.execute(blocks).scalar_one())


def fill(connection: Connection, most: int, after: Key = START, run_id: str | None = None) -> Key:
    """Make at most ``most`` of the missing pyramids of blocks after one, in order.

    Returns the last block that got one, from which to go on; ``after`` if there is none left.
    """
    key = (metric_blocks.c.series_id, metric_blocks.c.first_step)
    blocks = _without(run_id).where(tuple_(*key) > tuple_(*after)).order_by(*key).limit(most)
    rows = []
    for block in connection.execute(blocks):
        steps = np.frombuffer(block.steps, "<i8")
        values, times = (np.frombuffer(column, "<f8") for column in (block.values, block.times))
        content = packed(Buckets.grouped(steps, values, times, SIZE))
        after = (block.series_id, block.first_step)
        rows.append({"series_id": after[0], "first_step": after[1], "content": content})
    if rows:
        connection.execute(metric_pyramids.insert(), rows)
    return after


def fill_run(connection: Connection, run_id: str) -> None:
    """Make all pyramids that blocks of a run lack."""
    after, last = None, START
    while last != after:
        after, last = last, fill(connection, CHUNK, last, run_id)


def _without(run_id: str | None) -> Select[Any]:
    own = and_(
        metric_pyramids.c.series_id == metric_blocks.c.series_id,
        metric_pyramids.c.first_step == metric_blocks.c.first_step,
    )
    blocks = select(metric_blocks).where(~select(metric_pyramids.c.series_id).where(own).exists())
    if run_id is None:
        return blocks
    of_run = select(metric_series.c.id).join(segments, segments.c.id == metric_series.c.segment_id)
    return blocks.where(metric_blocks.c.series_id.in_(of_run.where(segments.c.run_id == run_id)))


def packed(buckets: Buckets) -> bytes:
    """Return buckets as bytes, little-endian whatever the machine."""
    rows = np.empty(buckets.steps.size, _BUCKET)
    for name in (*_WHOLE, *_NUMBERS, *_COUNTS):
        rows[name] = getattr(buckets, name)
    rows["carries"] = buckets.carries.T
    gaps = np.empty(buckets.gaps.steps.size, _GAP)
    for name in _GAP.names or ():
        gaps[name] = getattr(buckets.gaps, name)
    return _HEAD.pack(_VERSION, rows.size, gaps.size) + rows.tobytes() + gaps.tobytes()


def unreadable(contents: Mapping[int, bytes]) -> list[int]:
    """Return the keys of pyramids that are cut short, or of a layout that this version lacks."""
    shapes: dict[tuple[int, bytes], bool] = {}
    keys = []
    for key, content in contents.items():
        shape = len(content), bytes(content[: _HEAD.size])
        if shape not in shapes:
            shapes[shape] = _is_whole(content)
        if not shapes[shape]:
            keys.append(key)
    return keys


def unpacked(contents: Sequence[bytes]) -> Buckets:
    """Return the buckets of readable pyramids of one series, in the order of their blocks."""
    rows, broken = _alike(contents) or _unlike(contents)
    gaps = Gaps(*(_array(broken[name], broken.dtype[name].kind) for name in _GAP.names or ()))
    arrays: dict[str, Any] = {name: _array(rows[name], "f") for name in _NUMBERS}
    arrays |= {name: _array(rows[name], "i") for name in (*_WHOLE, *_COUNTS)}
    carries = np.ascontiguousarray(rows["carries"].reshape(-1, len(WEIGHTS)).T, np.float64)
    return _continued(Buckets(**arrays, carries=carries, gaps=gaps))


def _alike(contents: Sequence[bytes]) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Return the rows of pyramids without gaps that have the same number of buckets, at once."""
    if len({bytes(content[: _HEAD.size]) for content in contents}) > 1:
        return None
    _version, buckets, gaps = _HEAD.unpack_from(contents[0])
    if gaps:
        return None
    layout = np.dtype([("head", f"V{_HEAD.size}"), ("rows", _BUCKET, (buckets,))])
    rows = np.frombuffer(b"".join(contents), layout)["rows"]
    return rows, np.empty(0, _GAP)


def _unlike(contents: Sequence[bytes]) -> tuple[NDArray[Any], NDArray[Any]]:
    ends = [_HEAD.size + _HEAD.unpack_from(content)[1] * _BUCKET.itemsize for content in contents]
    pairs = list(zip(contents, ends, strict=True))
    rows = np.frombuffer(b"".join(content[_HEAD.size : end] for content, end in pairs), _BUCKET)
    return rows, np.frombuffer(b"".join(content[end:] for content, end in pairs), _GAP)


def _is_whole(content: bytes) -> bool:
    if len(content) < _HEAD.size:
        return False
    version, buckets, gaps = _HEAD.unpack_from(content)
    size = _HEAD.size + buckets * _BUCKET.itemsize + gaps * _GAP.itemsize
    return bool(version == _VERSION and buckets > 0 and len(content) == size)


def _continued(buckets: Buckets) -> Buckets:
    """Return the buckets with the gaps joined that go on from one block to the next."""
    gaps = buckets.gaps
    if not gaps.steps.size:
        return buckets
    places = np.searchsorted(buckets.steps, gaps.steps)
    opens = (buckets.first[places] == gaps.steps) & (places > 0)
    follows = np.where(opens, np.isnan(buckets.last[places - 1]), gaps.follows)
    return Buckets(
        **{name: getattr(buckets, name) for name in (*_WHOLE, *_NUMBERS, *_COUNTS, "carries")},
        gaps=Gaps(gaps.steps, gaps.values, gaps.times, follows),
    )


def _array(column: NDArray[Any], kind: str) -> NDArray[Any]:
    dtype = {"f": np.float64, "i": np.int64, "b": np.bool_}[kind]
    return np.ascontiguousarray(column, dtype).reshape(-1)
