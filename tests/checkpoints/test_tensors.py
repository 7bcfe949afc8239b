"""Whatever a state_dict may hold comes back as it was, or is refused by name."""

from __future__ import annotations

import json
import math
from collections import Counter, OrderedDict, namedtuple
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from branchtrack.checkpoints.manifest import Entry, Manifest, tensor_digest
from branchtrack.checkpoints.tensors import DTYPES, decode, encode, from_bytes, to_bytes
from branchtrack.errors import CheckpointMismatch

Pair = namedtuple("Pair", "first second")

KINDS = sorted(DTYPES, key=str)
SHAPES: list[tuple[int, ...]] = [(), (0,), (1,), (3,), (2, 3), (0, 4), (2, 1, 2)]


def make_tensor(dtype: torch.dtype, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """A tensor of any dtype made of random bytes, NaNs among the floats."""
    generator = torch.Generator().manual_seed(seed)
    size = torch.empty((), dtype=dtype).element_size()
    count = math.prod(shape) * size
    top = 2 if dtype is torch.bool else 256
    data = torch.randint(0, top, (count,), generator=generator, dtype=torch.uint8)
    return data.view(dtype).reshape(shape) if count else torch.empty(shape, dtype=dtype)


tensors_of_any_kind = st.builds(
    make_tensor, st.sampled_from(KINDS), st.sampled_from(SHAPES), st.integers(0, 1000)
)
keys = st.text("ab/$~.", max_size=3) | st.integers(-2, 2) | st.booleans()
plain = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text("aé$", max_size=3)
    | tensors_of_any_kind
)
values = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(keys, inner, max_size=4)
        | st.frozensets(st.integers(), max_size=3)
        | st.builds(Counter, st.lists(st.integers(0, 5), max_size=4))
    ),
    max_leaves=12,
)


def through_the_store(value: Any) -> Any:
    """Encoded, written as bytes and as JSON, read, and decoded."""
    tensors: dict[str, torch.Tensor] = {}
    state = encode(value, "part", tensors)
    entries, stored = [], {}
    for name, tensor in tensors.items():
        content = to_bytes(name, tensor)
        digest = tensor_digest(content.dtype, content.shape, content.data)
        entries.append(Entry(name, content.dtype, content.shape, digest))
        stored[name] = bytes(content.data)
    manifest = Manifest(tuple(entries), {"state": state})
    read = Manifest.from_json(json.loads(json.dumps(manifest.to_json(), allow_nan=False)))
    assert read.digest == manifest.digest
    back = {e.name: from_bytes(e.dtype, e.shape, bytearray(stored[e.name])) for e in read.entries}
    return decode(read.state["state"], back)


def alike(a: Any, b: Any) -> bool:
    """Equality that tells 1, 1.0 and True apart, and takes a NaN for itself."""
    if isinstance(a, torch.Tensor):
        same = isinstance(b, torch.Tensor) and (a.dtype, a.shape) == (b.dtype, b.shape)
        return same and bytes(to_bytes("a", a).data) == bytes(to_bytes("b", b).data)
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        pairs = zip(a.items(), b.items(), strict=True)
        return len(a) == len(b) and all(alike(x, y) for x, y in pairs)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(alike(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, float):
        return a.hex() == b.hex()
    return bool(a == b)


@given(values)
def test_nested_state_comes_back_as_it_was(value: Any) -> None:
    assert alike(through_the_store(value), value)


@pytest.mark.parametrize("dtype", KINDS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_dtype_and_shape_comes_back(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    tensor = make_tensor(dtype, shape, 7)
    assert alike(through_the_store({"x": tensor})["x"], tensor)


def test_tensors_whose_names_would_meet_are_both_kept() -> None:
    one, two, three = (torch.tensor(float(n)) for n in range(3))
    value = {"a": {"b": one}, "a/b": two, 1: {"c": three}, "1": {"c": one}}
    found = through_the_store(value)
    assert (found["a"]["b"], found["a/b"]) == (one, two)
    assert (found[1]["c"], found["1"]["c"]) == (three, one)


def test_equal_values_have_equal_encodings_whatever_was_encoded_before() -> None:
    value = {"b": torch.ones(2), "a/b": [1.5, math.nan], "a": {"b": torch.zeros(1)}}
    first: dict[str, torch.Tensor] = {}
    second: dict[str, torch.Tensor] = {}
    assert encode(value, "x", first) == encode(value, "x", second)
    assert list(first) == list(second)


def test_numbers_and_arrays_of_numpy_come_back() -> None:
    value = {
        "array": np.arange(6, dtype=np.uint32).reshape(2, 3)[:, ::-1],
        "scalar": np.float64(1e-300),
        "flag": np.bool_(True),
        "one": np.array(3.5),
        "none": np.zeros((0, 2), np.int16),
        "read only": np.frombuffer(b"abcd", np.uint8),
    }
    found = through_the_store(value)
    for name in ("array", "one", "none", "read only"):
        assert isinstance(found[name], np.ndarray)
        assert (found[name].dtype, found[name].shape) == (value[name].dtype, value[name].shape)
        np.testing.assert_array_equal(found[name], value[name])
    for name in ("scalar", "flag"):
        assert type(found[name]) is type(value[name]) and found[name] == value[name]


class Level(IntEnum):
    """As a script declares one."""

    HIGH = 3


SCALARS: list[Any] = [
    *(kind(1.1) for kind in (np.float16, np.float32, np.float64, np.longdouble, np.complex64)),
    *(kind(7) for kind in (np.int8, np.uint64)),
    np.float32("nan"),
    np.float32("-inf"),
    np.str_("aé"),
    np.bytes_(b"ab"),
    np.datetime64("2026-01-02", "s"),
    np.timedelta64(3, "ms"),
    1 + 2j,
    complex("nan+infj"),
    Decimal("0.10"),
    Fraction(1, 3),
    b"a\x00",
    bytearray(b"\xff"),
    Level.HIGH,
]


@pytest.mark.parametrize("value", SCALARS, ids=lambda value: f"{type(value).__name__} {value}")
def test_single_values_that_json_would_change_come_back_as_they_were(value: Any) -> None:
    found = through_the_store({"x": [value]})["x"][0]
    assert type(found) is type(value) and repr(found) == repr(value)
    if isinstance(value, np.generic):
        assert (found.dtype, found.tobytes()) == (value.dtype, value.tobytes())


def test_an_enum_that_the_process_does_not_have_is_named() -> None:
    coded = {**encode(Level.HIGH, "x", {}), "class": "Gone"}
    with pytest.raises(CheckpointMismatch, match="Gone.HIGH"):
        decode(coded, {})


def test_kinds_of_containers_come_back_as_their_plain_kind() -> None:
    value = {
        "ordered": OrderedDict(b=1, a=2),
        "pair": Pair(1, 2.0),
        "size": torch.Size([2, 3]),
        "set": {"b", "a"},
        "mixed": {1, "a", None},
    }
    found = through_the_store(value)
    assert found["ordered"] == {"b": 1, "a": 2} and list(found["ordered"]) == ["b", "a"]
    assert found["pair"] == (1, 2.0) and found["size"] == (2, 3)
    assert isinstance(found["pair"], tuple) and isinstance(found["size"], tuple)
    assert found["set"] == {"a", "b"} and found["mixed"] == {1, "a", None}


def test_a_tensor_that_is_not_contiguous_comes_back() -> None:
    tensor = torch.arange(12.0).reshape(3, 4).t()
    assert torch.equal(through_the_store([tensor])[0], tensor)


def test_bytes_are_a_view_and_not_a_copy() -> None:
    tensor = torch.zeros(4)
    content = to_bytes("x", tensor)
    tensor.fill_(1.0)
    assert bytes(content.data) == np.ones(4, "<f4").tobytes()


REFUSED: dict[str, Any] = {
    "an object": object(),
    "a function": len,
    "a number of a class of its own": type("Metres", (float,), {})(1.0),
    "a member of an enum that no module holds": IntEnum("Hidden", "ONE").ONE,
    "a record of numpy": np.zeros(1, [("a", "i4")])[0],
    "a sparse tensor": torch.eye(3).to_sparse(),
    "a complex tensor": torch.zeros(2, dtype=torch.complex64),
    "an array of objects": np.array([object()]),
    "an array of text": np.array(["a"]),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_stored_is_refused_by_name(kind: str) -> None:
    with pytest.raises(CheckpointMismatch) as caught:
        encode({"outer": [0, REFUSED[kind]]}, "optimizer/w", {})
    assert caught.value.field == "optimizer/w/outer/1"
    assert "optimizer/w/outer/1" in str(caught.value)
