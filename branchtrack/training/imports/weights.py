"""The weights in a checkpoint folder: one file of safetensors or torch, or several by an index."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from branchtrack.checkpoints.tensors import dtype_name
from branchtrack.errors import CheckpointMismatch, InvalidInput
from branchtrack.training.imports import pickles

#: The files that hold weights, in the order in which transformers looks for them.
_NAMES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_INDEX = ".index.json"


def is_weights(name: str) -> bool:
    """Return whether a file of that name holds weights, or lists those that do."""
    return name.startswith(("model", "pytorch_model")) and name.endswith(
        (".safetensors", ".bin", _INDEX)
    )


def read(path: Path, names: Collection[str]) -> dict[str, torch.Tensor]:
    """Return the tensors in a folder by name, on the host.

    Raises:
        InvalidInput: there are none, or a file is missing, damaged or not allowed.
    """
    first = next((name for name in _NAMES if name in names), None)
    if first is None:
        raise _refused(path, f"{path} has no weights: none of {', '.join(_NAMES)} is in it.")
    files = _listed(path, first) if first.endswith(_INDEX) else {first: None}
    tensors: dict[str, torch.Tensor] = {}
    for file, expected in files.items():
        if file not in names:
            raise _refused(path, f"{first} lists {file}, which is not in the folder.")
        content = _load(path / file)
        if expected is not None and (lacking := sorted(expected - content.keys())):
            raise _refused(path, f"{file} lacks {lacking[0]}, which {first} says it has.")
        tensors.update(content)
    for name, tensor in tensors.items():
        _check(path, name, tensor)
    return tensors


def _listed(path: Path, name: str) -> dict[str, set[str] | None]:
    """Return the names of tensors by the file that an index says they are in."""
    try:
        index = json.loads((path / name).read_text(encoding="utf-8"))["weight_map"]
        files: dict[str, set[str] | None] = {}
        for tensor, file in dict(index).items():
            if not isinstance(file, str) or Path(file).name != file:
                raise ValueError(f"{file!r} is not the name of a file")
            expected = files.setdefault(file, set())
            assert expected is not None
            expected.add(str(tensor))
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise _refused(path, f"{name} cannot be read: {error}.") from error
    return files


def _load(file: Path) -> Mapping[str, torch.Tensor]:
    if file.suffix != ".safetensors":
        return pickles.load(file).value
    try:
        return load_file(file)
    except (SafetensorError, OSError, ValueError) as error:
        raise _refused(file.parent, f"{file.name} is damaged: {error}.") from error


def _check(path: Path, name: object, tensor: object) -> None:
    if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
        raise _refused(path, f"The weights hold {name!r}, which is not a tensor.")
    try:
        dtype_name(name, tensor)
    except CheckpointMismatch as error:
        raise _refused(path, error.what) from error


def _refused(path: Path, what: str) -> InvalidInput:
    return InvalidInput(
        "folder",
        str(path),
        "a folder with whole weights, as a Trainer or save_pretrained writes it",
        what=what,
    )
