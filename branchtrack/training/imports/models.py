"""The model whose weights a folder has, built by transformers from its configuration alone.

No code of the folder is run, and nothing is downloaded. Its names, their order and its buffers are
what a training of it would have.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from branchtrack.errors import InvalidInput


class UnknownModel(Exception):
    """The configuration does not name a model that transformers itself can build."""


def build(path: Path, config: Mapping[str, Any] | None, weights: Mapping[str, Any]) -> Any:
    """Return the model with the weights, on the host, tied as it ties them.

    Raises:
        UnknownModel: there is no configuration, or it is of a class that is not in transformers.
        InvalidInput: the weights are not those of the model.
    """
    kind = _class(config)
    assert config is not None
    try:
        with warnings.catch_warnings(action="ignore"):
            model, report = kind.from_pretrained(
                path,
                config=kind.config_class.from_dict(dict(config)),
                dtype="auto",
                # Another one may be code that the configuration names.
                attn_implementation="eager",
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except Exception as error:
        first = str(error).strip().partition("\n")[0]
        raise _refused(path, f"transformers cannot open it as {kind.__name__}: {first}") from error
    _check(path, kind.__name__, report)
    model.config._attn_implementation_internal = None
    _take_bits(model, weights)
    return model


def _class(config: Mapping[str, Any] | None) -> Any:
    import transformers

    if config is None:
        raise UnknownModel("there is no config.json")
    if config.get("quantization_config"):
        raise UnknownModel("config.json names a quantised model")
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names else None
    if not isinstance(name, str):
        raise UnknownModel("config.json names no architecture")
    kind = getattr(transformers, name, None)
    is_model = isinstance(kind, type) and issubclass(kind, transformers.PreTrainedModel)
    if not is_model or getattr(kind, "config_class", None) is None:
        raise UnknownModel(f"{name} is not a model of transformers")
    return kind


def _check(path: Path, kind: str, report: Mapping[str, Any]) -> None:
    for key, words in (("missing_keys", "lack"), ("unexpected_keys", "have also")):
        if names := sorted(map(str, report.get(key) or ())):
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            listed = ", ".join(names[:3]) + more
            raise _refused(path, f"They are not the weights of {kind}: they {words} {listed}")


def _take_bits(model: Any, weights: Mapping[str, torch.Tensor]) -> None:
    """Give parameters the dtypes of the files, where opening the model has cast them."""
    for name, parameter in model.named_parameters():
        stored = weights.get(name)
        if stored is not None and stored.dtype != parameter.dtype:
            parameter.data = stored.detach().clone()


def _refused(path: Path, what: str) -> InvalidInput:
    return InvalidInput(
        "folder", str(path), "the weights of the model in config.json", what=f"{what}."
    )
