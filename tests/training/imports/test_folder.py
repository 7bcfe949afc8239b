"""A folder is read as data: what is damaged or would run code is refused by name."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from branchtrack.errors import InvalidInput
from branchtrack.training.imports import folder
from tests.matrices import some
from tests.training.imports import stock


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a stock checkpoint, which tests copy."""
    path = tmp_path_factory.mktemp("stock")
    stock.trained(path, max_steps=4)
    return stock.checkpoint(path, 4)


@pytest.fixture
def copy(written: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(written, tmp_path / "checkpoint-4"))


class Harmful:
    """Unpickled without restrictions, it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


def change(name: str, **values: Any) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        state = json.loads((path / name).read_text())
        (path / name).write_text(json.dumps({**state, **values}))

    return apply


def cut(name: str) -> Callable[[Path], None]:
    return lambda path: (path / name).write_bytes((path / name).read_bytes()[:-64])


def write(name: str, text: str) -> Callable[[Path], None]:
    return lambda path: void((path / name).write_text(text))


def remove(name: str) -> Callable[[Path], None]:
    return lambda path: (path / name).unlink()


def no_file(name: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        (path / name).unlink()
        (path / name).symlink_to("nowhere")

    return damage


def void(_: object) -> None:
    return None


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "no weights": (remove("model.safetensors"), "has no weights"),
    "cut weights": (cut("model.safetensors"), "model.safetensors is damaged"),
    "cut optimizer": (cut("optimizer.pt"), "optimizer.pt is refused"),
    "empty optimizer": (write("optimizer.pt", ""), "optimizer.pt is refused"),
    "no optimizer": (remove("optimizer.pt"), "but no optimizer.pt"),
    "an optimizer that is no file": (no_file("optimizer.pt"), "optimizer.pt is no file"),
    "no random states": (remove("rng_state.pth"), "no rng_state.pth"),
    "no counters": (remove("trainer_state.json"), "no trainer_state.json"),
    "no JSON": (write("trainer_state.json", "{"), "trainer_state.json cannot be read"),
    "a list": (write("trainer_state.json", "[]"), "not a JSON object"),
    "deep JSON": (write("config.json", "[" * 99_999), "config.json cannot be read"),
    "no step": (change("trainer_state.json", global_step="x"), "global_step"),
    "a negative step": (change("trainer_state.json", global_step=-1), "global_step"),
    "no history": (change("trainer_state.json", log_history=[1]), "log_history"),
    "no epoch": (change("trainer_state.json", epoch="one"), "epoch"),
    "adapters": (write("adapter_config.json", "{}"), "adapters of peft"),
}


@pytest.mark.parametrize(
    "what",
    some(BROKEN, "cut weights", "cut optimizer", "no counters", "an optimizer that is no file"),
)
def test_what_is_damaged_is_refused_by_name(what: str, copy: Path) -> None:
    damage, words = BROKEN[what]
    damage(copy)
    with pytest.raises(InvalidInput, match=words) as refused:
        folder.read(copy)
    assert refused.value.field == "folder"


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
def test_a_pickle_that_would_run_code_is_refused_and_not_run(
    name: str, copy: Path, tmp_path: Path
) -> None:
    torch.save({"state": Harmful(tmp_path / "ran")}, copy / name)
    with pytest.raises(InvalidInput, match=f"{name} is refused: it names .*system"):
        folder.read(copy)
    assert not (tmp_path / "ran").exists()


def test_weights_that_would_run_code_are_refused_and_not_run(copy: Path, tmp_path: Path) -> None:
    (copy / "model.safetensors").unlink()
    torch.save({"a": Harmful(tmp_path / "ran")}, copy / "pytorch_model.bin")
    with pytest.raises(InvalidInput, match="pytorch_model.bin is refused"):
        folder.read(copy)
    assert not (tmp_path / "ran").exists()


def test_a_pickle_of_classes_is_never_loaded_and_named(copy: Path, tmp_path: Path) -> None:
    torch.save(Harmful(tmp_path / "ran"), copy / "training_args.bin")
    contents = folder.read(copy)
    assert "never loaded" in contents.left_out["training_args.bin"]
    assert not (tmp_path / "ran").exists() and contents.is_complete


def test_with_weights_only_no_pickle_of_the_training_is_opened(copy: Path) -> None:
    (copy / "optimizer.pt").write_bytes(b"nothing")
    contents = folder.read(copy, weights_only=True)
    assert not contents.is_complete and contents.step == 4
    assert {"optimizer.pt", "scheduler.pt", "rng_state.pth"} <= contents.left_out.keys()


def test_files_that_are_no_state_are_named_and_those_of_a_tokenizer_kept(copy: Path) -> None:
    (copy / "tokenizer.json").write_text("{}")
    (copy / "notes.txt").write_text("mine")
    contents = folder.read(copy)
    assert contents.processor == {"tokenizer.json": b"{}"}
    assert "notes.txt" in contents.left_out and "config.json" not in contents.left_out


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "nothing"):
        with pytest.raises(InvalidInput, match="is not a folder"):
            folder.read(path)
