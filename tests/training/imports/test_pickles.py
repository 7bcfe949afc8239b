"""Files of torch are read as tensors and plain values."""

from __future__ import annotations

import random
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from branchtrack.errors import InvalidInput
from branchtrack.training.imports import pickles


def test_tensors_plain_values_and_the_state_of_numpy_are_read(tmp_path: Path) -> None:
    value = {
        "tensor": torch.arange(3),
        "numpy": np.random.get_state(),
        "python": random.getstate(),
        "ordered": OrderedDict(a=(1, None)),
    }
    torch.save(value, tmp_path / "x.pt")
    loaded = pickles.load(tmp_path / "x.pt")
    assert torch.equal(loaded.value["tensor"], value["tensor"])
    assert (loaded.value["numpy"][1] == value["numpy"][1]).all()
    assert loaded.value["python"] == value["python"]
    assert loaded.value["tensor"].untyped_storage().data_ptr() in loaded.on_host


def test_what_is_no_mapping_is_refused(tmp_path: Path) -> None:
    torch.save([1], tmp_path / "x.pt")
    with pytest.raises(InvalidInput, match="x.pt is refused: it holds a list"):
        pickles.load(tmp_path / "x.pt")


def test_a_class_is_named_and_no_one_is_told_to_load_it_all_the_same(tmp_path: Path) -> None:
    torch.save({"a": Path("/")}, tmp_path / "x.pt")
    with pytest.raises(InvalidInput, match="it names pathlib") as refused:
        pickles.load(tmp_path / "x.pt")
    assert "weights_only" not in str(refused.value)
