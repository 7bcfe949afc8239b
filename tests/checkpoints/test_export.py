"""Export: files that other tools open, written from verified bytes only."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file
from transformers import GPT2Config, GPT2LMHeadModel

from branchtrack.checkpoints.export import export
from branchtrack.checkpoints.manifest import Entry, Manifest
from branchtrack.errors import CheckpointDamaged, CheckpointMissing, InvalidInput, StorageError
from tests.checkpoints.tensors_for_tests import ARRAYS, by_digest, manifest_of, stored

TIED = {"model/head": np.arange(4.0), "model/embed": np.arange(4.0), "model/bias": np.ones(2)}


def exported(
    tmp_path: Path, arrays: dict[str, np.ndarray], state: dict[str, object]
) -> dict[str, Path]:
    store, pack = stored(tmp_path / "store", arrays)
    manifest = manifest_of(arrays, state)
    written = export(store, manifest, by_digest(pack), tmp_path / "out" / "model")
    return {path.name: path for path in written}


def test_the_model_is_written_under_its_own_names_and_marked_for_torch(tmp_path: Path) -> None:
    files = exported(tmp_path, ARRAYS, {})
    model = load_file(files["model.safetensors"])
    assert model.keys() == {"weight", "odd", "mask", "scalar", "empty", "half"}
    for name, array in model.items():
        np.testing.assert_array_equal(array, ARRAYS[f"model/{name}"])
    with safe_open(files["model.safetensors"], "np") as file:
        assert file.metadata() == {"format": "pt"}


def test_all_other_state_is_written_beside_it_with_its_role(tmp_path: Path) -> None:
    files = exported(tmp_path, ARRAYS, {})
    training = load_file(files["training_state.safetensors"])
    assert training.keys() == {"rng/torch", "optimizer/step"}
    assert training["optimizer/step"] == 7


def test_the_state_is_written_as_json_with_exact_floats(tmp_path: Path) -> None:
    state = {"lr": 0.1 + 0.2, "names": ["a"], "text": "é"}
    assert json.loads(exported(tmp_path, ARRAYS, state)["state.json"].read_text()) == state


def test_the_models_configuration_gets_a_file_of_its_own(tmp_path: Path) -> None:
    config = {"model_type": "bert", "hidden_size": 8}
    files = exported(tmp_path, ARRAYS, {"model_config": config})
    assert json.loads(files["config.json"].read_text()) == config


def test_without_a_configuration_or_training_state_no_file_is_made_up(tmp_path: Path) -> None:
    files = exported(tmp_path, TIED, {"model_config": None})
    assert files.keys() == {"model.safetensors", "state.json"}


@pytest.mark.parametrize(
    "aliases", [{"model/head": "model/embed"}, {"head": "embed"}], ids=["with role", "without"]
)
def test_tied_names_are_written_once(tmp_path: Path, aliases: dict[str, str]) -> None:
    files = exported(tmp_path, TIED, {"aliases": aliases})
    assert load_file(files["model.safetensors"]).keys() == {"embed", "bias"}


def test_names_that_are_equal_by_chance_are_all_written(tmp_path: Path) -> None:
    files = exported(tmp_path, TIED, {})
    assert load_file(files["model.safetensors"]).keys() == {"head", "embed", "bias"}


@pytest.mark.parametrize("kept", ["model/bias", "model/gone"])
def test_an_alias_of_something_else_is_written(tmp_path: Path, kept: str) -> None:
    files = exported(tmp_path, TIED, {"aliases": {"model/head": kept}})
    assert "head" in load_file(files["model.safetensors"])


def test_a_folder_with_something_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    kept = tmp_path / "out" / "model" / "notes.txt"
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    with pytest.raises(InvalidInput, match="empty"):
        exported(tmp_path, ARRAYS, {})
    assert [path.name for path in kept.parent.iterdir()] == ["notes.txt"]


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model").write_text("mine")
    with pytest.raises(InvalidInput):
        exported(tmp_path, ARRAYS, {})
    assert (tmp_path / "out" / "model").read_text() == "mine"


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "out" / "model").mkdir(parents=True)
    assert "model.safetensors" in exported(tmp_path, ARRAYS, {})


def test_damage_is_found_and_leaves_nothing_behind(tmp_path: Path) -> None:
    store, pack = stored(tmp_path / "store")
    path = Path(store.describe(pack.id))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointDamaged):
        export(store, manifest_of(ARRAYS, {}), by_digest(pack), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_tensor_that_lies_nowhere_is_reported_as_missing(tmp_path: Path) -> None:
    store, _ = stored(tmp_path / "store")
    with pytest.raises(CheckpointMissing, match="missing, wanted for 'model/"):
        export(store, manifest_of(ARRAYS, {}), {}, tmp_path / "out")


def test_a_manifest_that_tells_another_shape_is_refused(tmp_path: Path) -> None:
    arrays = {"model/weight": ARRAYS["model/weight"]}
    store, pack = stored(tmp_path / "store", arrays)
    digest = pack.locations[0].digest
    manifest = Manifest((Entry("model/weight", "F32", (3, 2), digest),), {})
    with pytest.raises(CheckpointDamaged, match="shape"):
        export(store, manifest, by_digest(pack), tmp_path / "out")


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, pack = stored(tmp_path / "store")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StorageError, match="free some space"):
        export(store, manifest_of(ARRAYS, {}), by_digest(pack), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_transformers_opens_the_result_with_tied_weights_tied(tmp_path: Path) -> None:
    config = GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=11, n_positions=6)
    model = GPT2LMHeadModel(config)
    arrays = {f"model/{name}": value.numpy() for name, value in model.state_dict().items()}
    state = {
        "model_config": config.to_dict(),
        "aliases": {"model/lm_head.weight": "model/transformer.wte.weight"},
    }
    target = exported(tmp_path, arrays, state)["config.json"].parent
    again = GPT2LMHeadModel.from_pretrained(target)
    assert again.lm_head.weight is again.transformer.wte.weight
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)
