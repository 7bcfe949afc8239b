"""Headers: laid out as readers expect, and believed only as far as they are proved."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from branchtrack.checkpoints.location import open_store
from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import TensorLocation
from branchtrack.errors import (
    CheckpointDamaged,
    CheckpointError,
)
from tests.checkpoints.tensors_for_tests import ARRAYS, stored


def forged(store: Store, raw: bytes, data: bytes = b"") -> TensorLocation:
    """A pack whose name fits its header, whatever the header says."""
    pack = hashlib.sha256(raw).hexdigest()[:32]
    Path(store.describe(pack)).parent.mkdir(parents=True)
    Path(store.describe(pack)).write_bytes(raw + data)
    return TensorLocation("a" * 64, pack, "t", "F32", (1 << 58,), len(raw), 1 << 60)


def with_length(header: object) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text


def slot(dtype: object = "F32", shape: object = (1,), offsets: object = (0, 4)) -> object:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0" * 7,
        (1 << 60).to_bytes(8, "little") + b"{}",
        (1 << 63).to_bytes(8, "little") + b"{}",
        (100_000_001).to_bytes(8, "little") + b"{}",
        with_length(b"\xff\xfe"),
        with_length(b"[" * 100_000),
        with_length([]),
        with_length({"__metadata__": {"a": 1}, "t": slot()}),
        with_length({"t": slot(shape=(1 << 58,), offsets=(0, 1 << 60))}),
        with_length({"t": slot(shape=(1 << 58,))}),
        with_length({"t": slot(dtype="X9")}),
        with_length({"t": slot(dtype=["F32"])}),
        with_length({"t": slot(shape=(True,))}),
        with_length({"t": slot(shape=(1.0,))}),
        with_length({"t": slot(offsets=(-4, 0))}),
        with_length({"t": slot(offsets=(0, 4, 8))}),
        with_length({"t": slot(offsets=(4, 0))}),
        with_length({"t": {"dtype": "F32"}}),
        with_length({"t": 3}),
        with_length({"t": slot(), "u": slot()}),
        with_length({"t": slot(dtype="U8", offsets=(0, 1))}),
        with_length({"t": slot(dtype="U8", offsets=(3, 4))}),
    ],
)
def test_a_hostile_header_is_refused_before_anything_is_allocated(
    tmp_path: Path, raw: bytes
) -> None:
    store = open_store(tmp_path)
    location = forged(store, raw, b"data")
    with pytest.raises(CheckpointDamaged):
        store.read(location)
    assert [problem.location for problem in store.verify([location])] == [location]


@pytest.mark.parametrize(
    "lie",
    [
        lambda location: replace(location, name="model/other"),
        lambda location: replace(location, dtype="I32"),
        lambda location: replace(location, shape=(3, 2)),
        lambda location: replace(location, offset=location.offset + 1),
        lambda location: replace(location, nbytes=1 << 60),
        lambda location: replace(location, digest="a" * 64),
    ],
)
def test_a_location_that_the_header_does_not_bear_out_is_refused(
    tmp_path: Path, lie: Callable[[TensorLocation], TensorLocation]
) -> None:
    store, pack = stored(tmp_path, {"model/w": ARRAYS["model/weight"]})
    with pytest.raises(CheckpointError):
        store.read(lie(pack.locations[0]))
    assert len(list(store.verify([lie(pack.locations[0])]))) == 1


def test_tensors_are_aligned_to_their_elements_and_whole_words_to_8(tmp_path: Path) -> None:
    _, pack = stored(tmp_path)
    size = {"F64": 8, "I64": 8, "F32": 4, "F16": 2, "U8": 1, "BOOL": 1}
    for location in pack.locations:
        assert location.offset % size[location.dtype] == 0
        assert location.offset % 8 == 0 or location.nbytes % 8 != 0
