"""Small tensors of every kind that has ever broken a file format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from branchtrack.checkpoints.location import open_store
from branchtrack.checkpoints.manifest import Entry, Manifest, TensorBytes, tensor_digest
from branchtrack.checkpoints.packs import Pack, Store
from branchtrack.core.records import TensorLocation

ARRAYS = {
    "model/weight": np.arange(6, dtype="<f4").reshape(2, 3),
    "model/odd": np.arange(3, dtype="<f4"),
    "model/mask": np.array([True, False, True]),
    "model/scalar": np.array(2.5, "<f8"),
    "model/empty": np.zeros((0, 4), "<f4"),
    "model/half": np.arange(5, dtype="<f2"),
    "rng/torch": np.arange(11, dtype="u1"),
    "optimizer/step": np.array(7, "<i8"),
}
_DTYPES = {"<f4": "F32", "<f8": "F64", "<f2": "F16", "|u1": "U8", "<i8": "I64", "|b1": "BOOL"}


def tensor(name: str, array: np.ndarray) -> tuple[str, TensorBytes]:
    """(digest, tensor), as `Store.put` takes it."""
    dtype = _DTYPES[array.dtype.str]
    view = memoryview(array)
    return tensor_digest(dtype, array.shape, view), TensorBytes(name, dtype, array.shape, view)


def tensors(arrays: Mapping[str, np.ndarray] = ARRAYS) -> list[tuple[str, TensorBytes]]:
    """All of them, as `Store.put` takes them."""
    return [tensor(name, array) for name, array in arrays.items()]


def stored(folder: Path, arrays: Mapping[str, np.ndarray] = ARRAYS) -> tuple[Store, Pack]:
    """A store with one pack of them."""
    store = open_store(folder)
    return store, store.put(tensors(arrays), {})


def manifest_of(arrays: Mapping[str, np.ndarray], state: dict[str, object]) -> Manifest:
    """The manifest of these tensors."""
    given = tensors(arrays)
    return Manifest(tuple(Entry(t.name, t.dtype, t.shape, digest) for digest, t in given), state)


def by_digest(pack: Pack) -> dict[str, TensorLocation]:
    """A pack's locations as `export` takes them."""
    return {location.digest: location for location in pack.locations}
