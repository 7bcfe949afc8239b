"""An exported model converted to the form that others open, and opened to verify that it is equal.

Weights and files are in a folder by now (see `checkpoints.export`). It knows no node.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

MODEL = "model.safetensors"
BASE = "base"
Tensors = Mapping[str, torch.Tensor]


def complete(folder: Path) -> None:
    """Write the files that open the model, and open it.

    Raises:
        ValueError, ImportError, OSError...: the opened model is not as it is in the node.
    """
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    what = state.get("export", {})
    if "unknown" in what:
        raise ValueError(f"what {what['unknown']} needs to be opened was not recorded")
    if "adapters" in what:
        _adapters(folder, what)
    elif "pipeline" in what:
        _pipeline(folder, what["pipeline"])
    elif (folder / "config.json").exists():
        _model(folder)


def _model(folder: Path) -> None:
    """Complete a model of transformers, without buffers that its own checkpoints leave out."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    kind = _class(config["architectures"][0])
    tensors = load_file(folder / MODEL)
    with torch.device("meta"):
        empty = kind(kind.config_class.from_dict(dict(config)))
    state_dict = empty.state_dict()
    _drop_buffers(empty, tensors)
    save_file(tensors, folder / MODEL, {"format": "pt"})
    _compare(kind.from_pretrained(folder, dtype="auto"), tensors, set(state_dict))


def _adapters(folder: Path, what: Mapping[str, Any]) -> None:
    """Write adapters as peft saves them, and below them the model that they belong to."""
    import peft

    kind = _class(what["base"]["class"])
    base = kind(kind.config_class.from_dict(dict(what["base"]["config"])))
    base = base.to(getattr(torch, what["base"]["config"]["dtype"]))
    model: Any = None
    for name, config in what["adapters"].items():
        adapter_config = _peft_config(config)
        if model is None:
            model = peft.get_peft_model(base, adapter_config, adapter_name=name)
        else:
            model.add_adapter(name, adapter_config)
    tensors = load_file(folder / MODEL)
    _drop_buffers(model, tensors)
    aliases = _tied(model)
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    if unexpected or set(missing) - aliases:
        raise ValueError(f"adapters of peft have other weights: {[*missing, *unexpected][:5]}")
    model.set_adapter(what["active"])
    where = str((folder / BASE).resolve())
    for config in model.peft_config.values():
        config.base_model_name_or_path = where
        config.inference_mode = True
    # There peft checks whether the vocabulary is that of the model below.
    model.get_base_model().config.save_pretrained(folder / BASE)
    model.save_pretrained(folder)
    for extra in ("README.md", MODEL):
        (folder / extra).unlink(missing_ok=True)
    _bare(kind, what["base"]["config"], tensors).save_pretrained(folder / BASE)
    first = next(iter(what["adapters"]))
    adapter_folder = folder if first == "default" else folder / first
    opened: Any = peft.PeftModel.from_pretrained(
        kind.from_pretrained(folder / BASE, dtype="auto"), adapter_folder, adapter_name=first
    )
    for name in list(what["adapters"])[1:]:
        opened.load_adapter(folder / name, adapter_name=name)
    _compare(opened, tensors, set(opened.state_dict()))


def _bare(kind: Any, config: Mapping[str, Any], tensors: Tensors) -> Any:
    """Return the model below the adapters, with the weights that they do not change."""
    model = kind(kind.config_class.from_dict(dict(config))).to(getattr(torch, config["dtype"]))
    weights, keys = {}, model.state_dict().keys()
    for name, tensor in tensors.items():
        plain = name.removeprefix("base_model.").replace(".base_layer.", ".")
        plain = plain.replace(".original_module.", ".")
        plain = plain if plain in keys else plain.removeprefix("model.")
        weights[plain] = tensor
    aliases = _tied(model)
    missing = model.load_state_dict(weights, strict=False).missing_keys
    if set(missing) - aliases:
        raise ValueError(f"the model below the adapters has other weights: {missing[:5]}")
    return model


def _peft_config(options: Mapping[str, Any]) -> Any:
    import peft

    config: Any = peft.PeftConfig
    return config.from_peft_type(**{**options, "inference_mode": False})


def _pipeline(folder: Path, name: str) -> None:
    """Write the modules of sentence-transformers: each one's weights beside its own files."""
    kind = getattr(importlib.import_module("sentence_transformers"), name)
    tensors = load_file(folder / MODEL)
    (folder / MODEL).unlink()
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    for module in modules:
        weights = {
            key.removeprefix(f"{module['name']}."): value
            for key, value in tensors.items()
            if key.startswith(f"{module['name']}.")
        }
        inner = next(
            (p for p in ("model.", "auto_model.") if any(k.startswith(p) for k in weights)), ""
        )
        weights = {key.removeprefix(inner): value for key, value in weights.items()}
        module_folder = folder / module["path"]
        config = module_folder / "config.json"
        if inner and config.exists():
            architecture = json.loads(config.read_text(encoding="utf-8"))["architectures"][0]
            model = _class(architecture)
            with torch.device("meta"):
                empty = model(model.config_class.from_dict(json.loads(config.read_text())))
            _drop_buffers(empty, weights)
        if weights:
            save_file(weights, module_folder / MODEL, {"format": "pt"})
    opened = kind(str(folder), device="cpu")
    _compare(opened, tensors, set(opened.state_dict()))


def _class(name: str) -> Any:
    import transformers

    kind = getattr(transformers, name, None)
    if kind is None or not hasattr(kind, "config_class"):
        raise ValueError(
            f"{name} is not a class of transformers: from_pretrained would open another model, "
            "with random weights"
        )
    return kind


def _drop_buffers(model: torch.nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    """Remove buffers that the model's own checkpoints do not hold."""
    state_dict = model.state_dict()
    for name, _buffer in model.named_buffers():
        if name not in state_dict:
            tensors.pop(name, None)


def _tied(model: torch.nn.Module) -> set[str]:
    """Return the names of parameters that are other names of one."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return {name for several in names.values() if len(several) > 1 for name in several}


def _compare(opened: torch.nn.Module, tensors: Tensors, names: set[str]) -> None:
    """Check that an opened model has the weights that were exported, bit for bit."""
    state_dict = opened.state_dict()
    for name in sorted(names & state_dict.keys() | (tensors.keys() & names)):
        actual, exported = state_dict.get(name), tensors.get(name)
        if exported is None and name in state_dict and name in _tied(opened):
            continue
        if actual is None or exported is None or actual.dtype != exported.dtype:
            raise ValueError(f"{name} is not there again with its dtype")
        if not torch.equal(_bits(actual), _bits(exported)):
            raise ValueError(f"{name} does not come back as it was")
    left_out = sorted(tensors.keys() - state_dict.keys())
    if left_out:
        raise ValueError(f"nothing opens {', '.join(left_out[:5])}")


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
