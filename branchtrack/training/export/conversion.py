"""An exported model put into the form that others open, and opened to see that it is the same.

Weights and files lie in a folder by now (see `checkpoints.export`). It knows no node.
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
    """Write what opens the model, and open it.

    Raises:
        ValueError, ImportError, OSError...: it does not come back as it is in the node.
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
    """A model of transformers: buffers that its own checkpoints leave out are left out."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    kind = _class(config["architectures"][0])
    tensors = load_file(folder / MODEL)
    with torch.device("meta"):
        empty = kind(kind.config_class.from_dict(dict(config)))
    own = empty.state_dict()
    _drop_buffers(empty, tensors)
    save_file(tensors, folder / MODEL, {"format": "pt"})
    _compare(kind.from_pretrained(folder, dtype="auto"), tensors, set(own))


def _adapters(folder: Path, what: Mapping[str, Any]) -> None:
    """Adapters as peft saves them, and below them the model that they belong to."""
    import peft

    kind = _class(what["base"]["class"])
    base = kind(kind.config_class.from_dict(dict(what["base"]["config"])))
    base = base.to(getattr(torch, what["base"]["config"]["dtype"]))
    model: Any = None
    for name, config in what["adapters"].items():
        given = _peft_config(config)
        if model is None:
            model = peft.get_peft_model(base, given, adapter_name=name)
        else:
            model.add_adapter(name, given)
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
    # peft looks there whether the vocabulary is that of the model below.
    model.get_base_model().config.save_pretrained(folder / BASE)
    model.save_pretrained(folder)
    for extra in ("README.md", MODEL):
        (folder / extra).unlink(missing_ok=True)
    _bare(kind, what["base"]["config"], tensors).save_pretrained(folder / BASE)
    first = next(iter(what["adapters"]))
    place = folder if first == "default" else folder / first
    opened: Any = peft.PeftModel.from_pretrained(
        kind.from_pretrained(folder / BASE, dtype="auto"), place, adapter_name=first
    )
    for name in list(what["adapters"])[1:]:
        opened.load_adapter(folder / name, adapter_name=name)
    _compare(opened, tensors, set(opened.state_dict()))


def _bare(kind: Any, config: Mapping[str, Any], tensors: Tensors) -> Any:
    """The model below the adapters, with the weights that they leave alone."""
    found = kind(kind.config_class.from_dict(dict(config))).to(getattr(torch, config["dtype"]))
    own, keys = {}, found.state_dict().keys()
    for name, tensor in tensors.items():
        plain = name.removeprefix("base_model.").replace(".base_layer.", ".")
        plain = plain.replace(".original_module.", ".")
        plain = plain if plain in keys else plain.removeprefix("model.")
        own[plain] = tensor
    aliases = _tied(found)
    missing = found.load_state_dict(own, strict=False).missing_keys
    if set(missing) - aliases:
        raise ValueError(f"the model below the adapters has other weights: {missing[:5]}")
    return found


def _peft_config(given: Mapping[str, Any]) -> Any:
    import peft

    config: Any = peft.PeftConfig
    return config.from_peft_type(**{**given, "inference_mode": False})


def _pipeline(folder: Path, name: str) -> None:
    """The modules of sentence-transformers: each one's weights beside its own files."""
    kind = getattr(importlib.import_module("sentence_transformers"), name)
    tensors = load_file(folder / MODEL)
    (folder / MODEL).unlink()
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    for module in modules:
        own = {
            key.removeprefix(f"{module['name']}."): value
            for key, value in tensors.items()
            if key.startswith(f"{module['name']}.")
        }
        inner = next(
            (p for p in ("model.", "auto_model.") if any(k.startswith(p) for k in own)), ""
        )
        own = {key.removeprefix(inner): value for key, value in own.items()}
        place = folder / module["path"]
        config = place / "config.json"
        if inner and config.exists():
            architecture = json.loads(config.read_text(encoding="utf-8"))["architectures"][0]
            model = _class(architecture)
            with torch.device("meta"):
                empty = model(model.config_class.from_dict(json.loads(config.read_text())))
            _drop_buffers(empty, own)
        if own:
            save_file(own, place / MODEL, {"format": "pt"})
    opened = kind(str(folder), device="cpu")
    _compare(opened, tensors, set(opened.state_dict()))


def _class(name: str) -> Any:
    import transformers

    kind = getattr(transformers, name, None)
    if kind is None or not hasattr(kind, "config_class"):
        raise ValueError(
            f"{name} is no class of transformers: from_pretrained would open another model, with "
            "random weights"
        )
    return kind


def _drop_buffers(model: torch.nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    """Take away buffers that the model's own checkpoints do not hold."""
    own = model.state_dict()
    for name, _buffer in model.named_buffers():
        if name not in own:
            tensors.pop(name, None)


def _tied(model: torch.nn.Module) -> set[str]:
    """The names of parameters that are other names of one."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return {name for several in names.values() if len(several) > 1 for name in several}


def _compare(opened: torch.nn.Module, tensors: Tensors, names: set[str]) -> None:
    """That an opened model has the weights that were exported, bit for bit."""
    found = opened.state_dict()
    for name in sorted(names & found.keys() | (tensors.keys() & names)):
        mine, theirs = found.get(name), tensors.get(name)
        if theirs is None and name in found and name in _tied(opened):
            continue
        if mine is None or theirs is None or mine.dtype != theirs.dtype:
            raise ValueError(f"{name} is not there again with its dtype")
        if not torch.equal(_bits(mine), _bits(theirs)):
            raise ValueError(f"{name} does not come back as it was")
    left_out = sorted(tensors.keys() - found.keys())
    if left_out:
        raise ValueError(f"nothing opens {', '.join(left_out[:5])}")


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
