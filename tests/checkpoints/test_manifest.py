"""Manifests: digests that mean equality, JSON that comes back exact, nonsense refused."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from branchtrack.checkpoints.manifest import (
    Entry,
    Manifest,
    TensorBytes,
    canonical_json,
    tensor_bytes,
    tensor_digest,
)
from branchtrack.errors import CheckpointDamaged, InvalidInput

WEIGHT = Entry("model/weight", "F32", (2, 3), "a" * 64)
MOMENT = Entry("optimizer/exp_avg/weight", "BF16", (4,), "b" * 64)
STATE = {"lr": 0.1 + 0.2, "groups": [{"names": ["weight"]}], "step": 7}
MANIFEST = Manifest((WEIGHT, MOMENT), STATE)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def test_the_digest_of_a_tensor_never_changes_between_versions() -> None:
    data = np.arange(6, dtype="<f4").tobytes()
    expected = "0dda5f22f926f7d771381d6ce5e1ccc4b331c2857c1cfbc6a2bd2adc18e98bcf"
    assert tensor_digest("F32", (2, 3), data) == expected


def test_the_state_digest_never_changes_between_versions() -> None:
    expected = "7d37f54d00f2b708a4a44d89969d29be661744e216ca58b5ab89e54a1ad8b724"
    assert MANIFEST.digest == expected


def test_equal_bytes_of_another_dtype_or_shape_have_another_digest() -> None:
    data = bytes(16)
    kinds = [("F32", (4,)), ("F32", (2, 2)), ("F32", (4, 1)), ("I32", (4,)), ("U8", (16,))]
    assert len({tensor_digest(dtype, shape, data) for dtype, shape in kinds}) == len(kinds)


def test_empty_tensors_differ_by_shape() -> None:
    shapes = [(0,), (0, 3), (3, 0)]
    assert len({tensor_digest("F32", shape, b"") for shape in shapes}) == 3


def test_one_changed_bit_changes_the_digest() -> None:
    data = bytearray(8)
    before = tensor_digest("F64", (), data)
    data[7] ^= 1
    assert tensor_digest("F64", (), data) != before


def test_the_digest_of_a_negative_zero_is_not_that_of_zero() -> None:
    zeros = [np.array(value, "<f8").tobytes() for value in (0.0, -0.0)]
    assert tensor_digest("F64", (), zeros[0]) != tensor_digest("F64", (), zeros[1])


@pytest.mark.parametrize("array", [np.ones((2, 3)), np.float64(1.0), np.ones((0, 3))])
def test_tensor_bytes_accepts_any_contiguous_view(array: Any) -> None:
    array = np.asarray(array)
    tensor = TensorBytes("t", "F64", array.shape, memoryview(array))
    assert bytes(tensor.data) == array.tobytes()
    assert tensor.nbytes == array.nbytes
    assert tensor_digest("F64", array.shape, memoryview(array)) == tensor_digest(
        "F64", array.shape, array.tobytes()
    )


def test_a_strided_view_is_refused() -> None:
    with pytest.raises(InvalidInput, match="contiguous"):
        TensorBytes("t", "F64", (3,), memoryview(np.ones(6)[::2]))


@pytest.mark.parametrize(
    ("dtype", "shape"), [("F32", (3,)), ("F16", (4,)), ("FLOAT", (4,)), ("F32", (-2, -1))]
)
def test_a_tensor_whose_length_or_dtype_is_wrong_is_refused(
    dtype: str, shape: tuple[int, ...]
) -> None:
    with pytest.raises(InvalidInput):
        TensorBytes("t", dtype, shape, memoryview(bytes(9)))


def test_sizes_are_those_of_the_format() -> None:
    assert tensor_bytes("BF16", (2, 3)) == 12
    assert tensor_bytes("BOOL", ()) == 1
    assert tensor_bytes("F64", (0, 5)) == 0


def test_role_is_the_first_part_of_the_name() -> None:
    assert [entry.role for entry in MANIFEST.entries] == ["model", "optimizer"]


def test_logical_bytes_count_every_entry() -> None:
    assert MANIFEST.logical_bytes == 24 + 8


def test_the_order_of_entries_and_keys_does_not_matter() -> None:
    turned = Manifest((MOMENT, WEIGHT), dict(reversed(STATE.items())))
    assert turned.digest == MANIFEST.digest


@pytest.mark.parametrize(
    "other",
    [
        Manifest((WEIGHT,), STATE),
        Manifest((WEIGHT, replace(MOMENT, digest="c" * 64)), STATE),
        Manifest((WEIGHT, replace(MOMENT, name="optimizer/step")), STATE),
        Manifest((WEIGHT, MOMENT), STATE | {"lr": math.nextafter(0.1 + 0.2, 1)}),
    ],
)
def test_any_difference_in_state_gives_another_digest(other: Manifest) -> None:
    assert other.digest != MANIFEST.digest


@given(json_values)
def test_state_comes_back_exact_from_json(value: Any) -> None:
    manifest = Manifest((WEIGHT,), {"value": value})
    back = Manifest.from_json(json.loads(json.dumps(manifest.to_json())))
    assert back == manifest
    assert back.digest == manifest.digest


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, {1: 2}, {"a": [{None: 1}]}, {1, 2}, b"bytes", object()]
)
def test_state_that_json_would_change_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput):
        canonical_json({"value": value})


def test_two_entries_of_one_name_have_no_digest() -> None:
    with pytest.raises(InvalidInput, match="each name once"):
        _ = Manifest((WEIGHT, WEIGHT), {}).digest


GOOD = MANIFEST.to_json()
ROW = GOOD["tensors"][0]


@pytest.mark.parametrize(
    "nonsense",
    [
        None,
        [],
        {},
        GOOD | {"format": "branchtrack-manifest-0"},
        GOOD | {"tensors": {}},
        GOOD | {"state": []},
        GOOD | {"tensors": [ROW, ROW]},
        GOOD | {"tensors": [ROW[:3]]},
        GOOD | {"tensors": [[7, *ROW[1:]]]},
        GOOD | {"tensors": [["", *ROW[1:]]]},
        GOOD | {"tensors": [[ROW[0], "F31", *ROW[2:]]]},
        GOOD | {"tensors": [[ROW[0], ["F32"], *ROW[2:]]]},
        GOOD | {"tensors": [[*ROW[:2], [2, -3], ROW[3]]]},
        GOOD | {"tensors": [[*ROW[:2], [2, True], ROW[3]]]},
        GOOD | {"tensors": [[*ROW[:2], "23", ROW[3]]]},
        GOOD | {"tensors": [[*ROW[:3], "A" * 64]]},
        GOOD | {"tensors": [[*ROW[:3], "a" * 63]]},
    ],
)
def test_json_that_is_no_manifest_is_reported_as_damage(nonsense: Any) -> None:
    with pytest.raises(CheckpointDamaged) as caught:
        Manifest.from_json(nonsense)
    assert "Other nodes are untouched." in str(caught.value)
