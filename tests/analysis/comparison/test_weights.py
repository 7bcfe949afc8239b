"""Distances between weights are those of the arrays, and equal tensors are never read."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from branchtrack.analysis.comparison import weights
from branchtrack.checkpoints.location import open_store
from branchtrack.checkpoints.manifest import TensorBytes, tensor_digest
from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import StoredCheckpoint
from branchtrack.errors import CheckpointDamaged

Arrays = dict[str, Any]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path)


def bfloat16(values: Any) -> np.ndarray:
    """The bits of values that bfloat16 holds exactly."""
    return (np.asarray(values, "<f4").view("<u4") >> 16).astype("<u2")


def checkpoint(store: Store, arrays: Arrays, dtype: str = "F32", **state: Any) -> StoredCheckpoint:
    """A checkpoint of arrays; those of whole numbers are stored as I64."""
    tensors, entries = [], []
    for name, values in arrays.items():
        kind = "I64" if np.asarray(values).dtype.kind == "i" else dtype
        layout = {"F32": "<f4", "F64": "<f8", "F16": "<f2", "I64": "<i8"}
        data = bfloat16(values) if kind == "BF16" else np.asarray(values, layout[kind])
        tensor = TensorBytes(name, kind, data.shape, memoryview(np.ascontiguousarray(data)))
        digest = tensor_digest(kind, data.shape, tensor.data)
        tensors.append((digest, tensor))
        entries.append([name, kind, list(data.shape), digest])
    pack = store.put(tensors, {})
    locations = {location.digest: location for location in pack.locations}
    manifest = {"tensors": entries, "state": state}
    return StoredCheckpoint("d" * 64, manifest, locations, len(entries), 0, 0)


def model(seed: int, shape: tuple[int, ...] = (40, 30)) -> Arrays:
    noise = np.random.default_rng(seed)
    return {f"model/h.{n}.{part}.weight": noise.normal(size=shape) for n in (0, 1) for part in "am"}


@pytest.mark.parametrize("dtype", ["F32", "F64"])
def test_distance_and_cosine_are_those_of_the_arrays(store: Store, dtype: str) -> None:
    fork, a, b = (model(seed) for seed in (0, 1, 2))
    compared = weights.compare(store, *(checkpoint(store, x, dtype) for x in (a, b, fork)))
    assert [row.name for row in compared.rows] == ["h.0.a", "h.0.m", "h.1.a", "h.1.m"]
    for row in compared.rows:
        x, y, z = (arrays[f"model/{row.name}.weight"].ravel() for arrays in (a, b, fork))
        norm = np.linalg.norm
        assert row.distance == pytest.approx(norm(x - y) / norm(z), rel=1e-5)
        assert row.cosine == pytest.approx((x - z) @ (y - z) / norm(x - z) / norm(y - z), abs=1e-5)
        assert (row.tensors, row.equal, row.elements) == (1, 0, 1200)
    assert compared.total.tensors == 4 and compared.has_fork


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_small_floats_are_read_as_they_are(store: Store, dtype: str) -> None:
    fork, a, b = ({"model/x.weight": [1.0, v, 2.0]} for v in (0.0, 2.0, -2.0))
    compared = weights.compare(store, *(checkpoint(store, x, dtype) for x in (a, b, fork)))
    assert compared.total.distance == pytest.approx(4 / math.sqrt(5))
    assert compared.total.cosine == -1.0


def test_tensors_longer_than_a_piece_are_read_whole(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fork, a, b = (model(seed) for seed in (0, 1, 2))
    stored = [checkpoint(store, x) for x in (a, b, fork)]
    whole = weights.compare(store, *stored).total
    monkeypatch.setattr(weights, "_PIECE", 7)
    pieces = weights.compare(store, *stored).total
    assert pieces.distance == pytest.approx(whole.distance)
    assert pieces.cosine == pytest.approx(whole.cosine)


def test_equal_tensors_are_not_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    fork, a = model(0), model(0)
    a["model/h.1.m.weight"] = a["model/h.1.m.weight"] + 1
    b = dict(a)
    b["model/h.0.a.weight"] = fork["model/h.0.a.weight"] * 2
    read = list[str]()
    pieces = store.pieces

    def note(location: Any, *rest: Any) -> Any:
        read.append(location.name)
        return pieces(location, *rest)

    monkeypatch.setattr(store, "pieces", note)
    stored = [checkpoint(store, x) for x in (a, b, fork)]
    compared = {row.name: row for row in weights.compare(store, *stored).rows}
    assert sorted(read) == ["model/h.0.a.weight"] * 2 + ["model/h.1.m.weight"] * 2
    assert weights.to_read(*stored) == 4 * 1200 * 4
    assert compared["h.0.m"].distance == 0.0 and compared["h.0.m"].cosine is None
    # Both moved there, and to the same.
    assert compared["h.1.m"].distance == 0.0
    assert compared["h.1.m"].cosine == pytest.approx(1.0)
    assert compared["h.0.a"].distance == pytest.approx(1.0)
    assert compared["h.0.a"].cosine is None


def test_only_the_model_counts_and_tied_tensors_once(store: Store) -> None:
    def of(value: float) -> Arrays:
        tied = np.full(10, value)
        return {
            "model/wte.weight": tied,
            "model/head.weight": tied,
            "model/steps": np.arange(int(value) + 1),
            "optimizer/exp_avg": tied,
        }

    aliases = {"head.weight": "wte.weight"}
    stored = [checkpoint(store, of(v), aliases=aliases) for v in (1.0, 3.0, 2.0)]
    compared = weights.compare(store, *stored)
    assert [(row.name, row.elements) for row in compared.rows] == [("wte", 10)]
    assert (compared.integers, compared.unmatched) == (1, 0)


def test_what_one_side_lacks_is_counted(store: Store) -> None:
    fork, a, b = model(0), model(1), model(2)
    del b["model/h.0.a.weight"]
    b["model/h.0.m.weight"] = np.zeros((3, 3))
    compared = weights.compare(store, *(checkpoint(store, x) for x in (a, b, fork)))
    assert compared.unmatched == 2 and compared.total.tensors == 2


@pytest.mark.parametrize("other", [{}, {"model/head.weight": np.zeros(10)}])
def test_of_different_models_the_same_is_counted_in_both_directions(
    store: Store, other: Arrays
) -> None:
    tied = {"model/wte.weight": np.ones(10), "model/head.weight": np.ones(10)}
    a = checkpoint(store, model(1) | tied, aliases={"head.weight": "wte.weight"})
    b = checkpoint(store, model(2) | {"model/x": np.ones(3)} | other)
    compared = [weights.compare(store, *pair, None) for pair in ((a, b), (b, a))]
    # The embedding of one and x of the other; the head where the other has one.
    assert [each.unmatched for each in compared] == [2, 2]
    assert [each.total.tensors for each in compared] == [4 + len(other)] * 2
    assert weights.to_read(a, b, None) == weights.to_read(b, a, None)


def test_without_a_fork_distances_are_of_the_first(store: Store) -> None:
    a, b = ({"model/x.weight": [value]} for value in (2.0, 3.0))
    compared = weights.compare(store, checkpoint(store, a), checkpoint(store, b), None)
    assert compared.total.distance == 0.5 and compared.total.cosine is None
    assert not compared.has_fork


def test_weights_that_are_not_numbers_give_no_number(store: Store) -> None:
    fork, a, b = ({"model/x.weight": [1.0, value]} for value in (0.0, math.nan, math.inf))
    compared = weights.compare(store, *(checkpoint(store, x) for x in (a, b, fork)))
    assert math.isnan(compared.total.distance)


def test_modules_are_joined_until_they_fit(store: Store) -> None:
    def deep(layers: int, tops: int, value: float) -> Arrays:
        arrays = {
            f"model/net.h.{n}.{part}.weight": [value, n]
            for n in range(layers)
            for part in ("attn", "mlp")
        }
        return arrays | {f"model/net.top{n}.weight": [value] * (n + 1) for n in range(tops)}

    def names(layers: int, tops: int) -> list[str]:
        stored = [checkpoint(store, deep(layers, tops, v)) for v in (1.0, 2.0, 3.0)]
        return [row.name for row in weights.compare(store, *stored).rows]

    assert names(2, 1) == ["h.0.attn", "h.0.mlp", "h.1.attn", "h.1.mlp", "top0"]
    assert names(20, 1)[:2] == ["h.0", "h.1"]
    many = names(20, 30)
    assert len(many) == weights.ROWS and many[0] == "h" and many[-1] == weights.OTHER


def test_a_damaged_tensor_gives_no_distance(store: Store) -> None:
    stored = [checkpoint(store, model(seed)) for seed in (1, 2, 0)]
    location = next(iter(stored[1].locations.values()))
    path = Path(store.describe(location.pack))
    content = bytearray(path.read_bytes())
    content[location.offset] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)
    with pytest.raises(CheckpointDamaged):
        weights.compare(store, *stored)
