"""What an export of a model needs beside its weights and its own configuration.

Adapters (peft) and pipelines of modules (sentence-transformers) are more than one model of
transformers: opened without this they would have random weights. It knows no folder of an export.
"""

from __future__ import annotations

import json
import logging
import tempfile
import weakref
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

logger = logging.getLogger("branchtrack")

#: The role of tensors that are files, byte for byte.
FILES = "files"
#: Where a state records what the model is, and which buffers its own checkpoints leave out.
KEY = "export"
TRANSIENT = "transient"

Found = tuple[dict[str, Any], dict[str, torch.Tensor]]

_known: weakref.WeakKeyDictionary[torch.nn.Module, Found] = weakref.WeakKeyDictionary()


def of(model: torch.nn.Module, processor: Any = None) -> Found:
    """Return what is to be kept, as JSON and as files; computed once per model, often empty.

    ``processor`` makes its inputs: a tokenizer, for example.
    """
    needed = _known.get(model)
    if needed is None:
        try:
            what, files = _of(model)
            needed = what, files or _files_of_processor(processor)
        except Exception as error:
            # Its export is refused then; its training is not.
            logger.warning("branchtrack: nodes of this model cannot be exported: %s", error)
            needed = {"unknown": type(model).__name__}, {}
        _known[model] = needed
    return needed


def adopt(
    model: torch.nn.Module, state: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]
) -> None:
    """Make a restored model keep what its node had: later changes of a tokenizer are not state of
    the training.
    """
    files = {name: tensor for name, tensor in tensors.items() if name.startswith(f"{FILES}/")}
    if files or KEY in state:
        _known[model] = dict(state.get(KEY, {})), files


def transient(model: torch.nn.Module, stored: Container[str]) -> list[str]:
    """Return the names of buffers that are not in ``stored``, the model's ``state_dict()``: they
    are state of a training only.
    """
    return sorted(name for name, _buffer in model.named_buffers() if name not in stored)


def _of(model: torch.nn.Module) -> Found:
    if hasattr(model, "peft_config") and hasattr(model, "get_base_model"):
        return _of_adapters(model), {}
    if callable(getattr(model, "_get_model_config", None)) and hasattr(model, "module_kwargs"):
        return {"pipeline": type(model).__name__}, _files_of_pipeline(model)
    return {}, {}


def _of_adapters(model: Any) -> dict[str, Any]:
    base = model.get_base_model()
    configs = {name: config.to_dict() for name, config in model.peft_config.items()}
    return {
        "adapters": json.loads(json.dumps(configs, default=_plain, sort_keys=True)),
        "active": model.active_adapter,
        "base": {"class": type(base).__name__, "config": _config(base)},
    }


def _config(model: Any) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(model.config.to_json_string(use_diff=True))
    for name in ("transformers_version", "_name_or_path"):
        config.pop(name, None)
    dtype = str(model.dtype).removeprefix("torch.")
    return {**config, "architectures": [type(model).__name__], "dtype": dtype}


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, (set, frozenset)) else str(value)


def _files_of_processor(processor: Any) -> dict[str, torch.Tensor]:
    if not callable(getattr(processor, "save_pretrained", None)):
        return {}
    return _files_of(processor.save_pretrained)


def _files_of_pipeline(model: Any) -> dict[str, torch.Tensor]:
    def save(folder: str) -> None:
        with _without_weights(model):
            model.save(folder, create_model_card=False)

    return _files_of(save)


def _files_of(save: Callable[[str], Any]) -> dict[str, torch.Tensor]:
    """Return the files that ``save`` writes into a folder, without weights."""
    with tempfile.TemporaryDirectory(prefix="branchtrack-") as folder:
        save(folder)
        paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        return {
            f"{FILES}/{path.relative_to(folder)}": torch.frombuffer(
                bytearray(path.read_bytes()), dtype=torch.uint8
            )
            for path in paths
            if path.stat().st_size and path.suffix not in (".safetensors", ".bin")
        }


@contextmanager
def _without_weights(model: Any) -> Iterator[None]:
    """Within the block the modules of a pipeline save only their configurations."""
    patched: list[tuple[Any, str]] = []
    for module in model.modules():
        if hasattr(module, "config") and callable(getattr(module, "save_pretrained", None)):
            if module is not model:
                patched.append((module, "save_pretrained"))
        elif callable(getattr(module, "save_torch_weights", None)):
            patched.append((module, "save_torch_weights"))
    try:
        for module, name in patched:
            object.__setattr__(module, name, _saver(module, name))
        yield
    finally:
        for module, name in patched:
            module.__dict__.pop(name, None)


def _saver(module: Any, name: str) -> Any:
    def save(folder: str, **_: Any) -> None:
        if name == "save_pretrained":
            text = json.dumps(_config(module), indent=2, sort_keys=True)
            (Path(folder) / "config.json").write_text(text, encoding="utf-8")

    return save
