"""Weights are read from one file or several, whatever they are written in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from branchtrack.errors import InvalidInput
from branchtrack.training.imports import weights

TENSORS = {"a": torch.ones(2), "b": torch.full((3,), float("nan")), "c": torch.ones(1).half()}


def read(path: Path) -> dict[str, torch.Tensor]:
    return weights.read(path, {entry.name for entry in path.iterdir()})


def sharded(path: Path, **changed: str) -> None:
    save_file({"a": TENSORS["a"]}, path / "model-1.safetensors")
    save_file({n: TENSORS[n] for n in ("b", "c")}, path / "model-2.safetensors")
    files = {"a": "model-1.safetensors", **dict.fromkeys("bc", "model-2.safetensors"), **changed}
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))


def test_one_file_and_several_hold_the_same_and_nan_is_a_value(tmp_path: Path) -> None:
    for name in ("one", "several", "bin"):
        (tmp_path / name).mkdir()
    save_file(TENSORS, tmp_path / "one" / "model.safetensors")
    sharded(tmp_path / "several")
    torch.save(TENSORS, tmp_path / "bin" / "pytorch_model.bin")
    for name in ("one", "several", "bin"):
        tensors = read(tmp_path / name)
        assert tensors.keys() == TENSORS.keys()
        assert all(torch.equal(tensors[n].isnan(), TENSORS[n].isnan()) for n in TENSORS)
        assert tensors["c"].dtype == torch.float16


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"d": "model-2.safetensors"}, "lacks d"),
        ({"d": "model-3.safetensors"}, "not in the folder"),
        ({"d": "../model.safetensors"}, "not the name of a file"),
    ],
)
def test_an_index_that_lists_what_is_not_there_is_refused(
    changed: dict[str, str], words: str, tmp_path: Path
) -> None:
    sharded(tmp_path, **changed)
    with pytest.raises(InvalidInput, match=words):
        read(tmp_path)


def test_what_is_no_dense_tensor_is_refused(tmp_path: Path) -> None:
    torch.save({"a": 1}, tmp_path / "pytorch_model.bin")
    with pytest.raises(InvalidInput, match="not a tensor"):
        read(tmp_path)
    torch.save({"a": torch.ones(2, dtype=torch.complex64)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(InvalidInput, match="cannot be stored"):
        read(tmp_path)


def test_files_of_weights_are_told_by_name() -> None:
    assert weights.is_weights("model-00001-of-00002.safetensors")
    assert weights.is_weights("pytorch_model.bin") and weights.is_weights(
        "pytorch_model.bin.index.json"
    )
    assert not weights.is_weights("training_args.bin") and not weights.is_weights("optimizer.pt")
