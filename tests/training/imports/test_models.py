"""A model is built by transformers alone, and has the bits of the files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from branchtrack.errors import InvalidInput
from branchtrack.training.imports import models
from tests.training import tiny


def build(path: Path, **config: Any) -> Any:
    written = json.loads((path / "config.json").read_text())
    return models.build(path, {**written, **config}, load_file(path / "model.safetensors"))


def test_tied_weights_are_tied_again(tmp_path: Path) -> None:
    model = tiny.gpt()
    model.save_pretrained(tmp_path)
    built = build(tmp_path)
    assert built.lm_head.weight is built.transformer.wte.weight
    assert tiny.same(dict(built.state_dict()), dict(model.state_dict()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_of_half_size_stay_that(dtype: torch.dtype, tmp_path: Path) -> None:
    model = tiny.gpt().to(dtype)
    model.save_pretrained(tmp_path)
    assert tiny.same(dict(build(tmp_path).state_dict()), dict(model.state_dict()))
    # Whatever the configuration says about them.
    opened = build(tmp_path, dtype="float32", torch_dtype="float32").named_parameters()
    assert all(parameter.dtype == dtype for _, parameter in opened)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"architectures": ["MyModel"]}, "MyModel is not a model"),
        ({"architectures": ["Trainer"]}, "Trainer is not a model"),
        ({"architectures": [["x"]]}, "names no architecture"),
        ({"architectures": None}, "names no architecture"),
        ({"quantization_config": {"load_in_4bit": True}}, "quantised"),
    ],
)
def test_a_model_that_transformers_does_not_have_is_unknown(
    config: dict[str, Any], words: str, tmp_path: Path
) -> None:
    tiny.gpt().save_pretrained(tmp_path)
    with pytest.raises(models.UnknownModel, match=words):
        build(tmp_path, **config)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    tiny.gpt().save_pretrained(tmp_path)
    with pytest.raises(InvalidInput, match="lack|cannot open"):
        build(tmp_path, n_layer=2)
    weights = load_file(tmp_path / "model.safetensors")
    save_file({**weights, "more": torch.ones(1)}, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(InvalidInput, match="have also more"):
        build(tmp_path)


def test_code_that_a_configuration_names_is_not_run(tmp_path: Path) -> None:
    tiny.gpt().save_pretrained(tmp_path)
    (tmp_path / "evil.py").write_text("raise SystemExit('run')")
    built = build(
        tmp_path,
        auto_map={"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"},
        _attn_implementation="someone/kernel",
    )
    assert type(built).__module__.startswith("transformers.")
