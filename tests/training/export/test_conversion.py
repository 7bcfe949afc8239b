"""An export is refused by name where the opened model would not be the node's, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from branchtrack.training.export import conversion


def tied() -> torch.nn.Module:
    model = torch.nn.ModuleDict({"a": torch.nn.Linear(2, 2), "b": torch.nn.Linear(2, 2)})
    model["b"].weight = model["a"].weight
    return model


def compare(opened: torch.nn.Module, **changed: Any) -> None:
    tensors = {name: tensor.clone() for name, tensor in opened.state_dict().items()}
    tensors |= {name.replace("_", "."): tensor for name, tensor in changed.items()}
    tensors = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    conversion._compare(opened, tensors, set(opened.state_dict()))


def state(folder: Path, **export: Any) -> Path:
    (folder / "state.json").write_text(json.dumps({"export": export}))
    return folder


def test_equal_bits_are_the_model_also_where_they_are_no_numbers() -> None:
    model = torch.nn.Linear(2, 1)
    with torch.no_grad():
        model.weight.fill_(float("nan"))
    compare(model)


def test_a_zero_of_another_sign_is_another_weight() -> None:
    model = torch.nn.Linear(2, 1)
    with torch.no_grad():
        model.bias.zero_()
    with pytest.raises(ValueError, match="bias does not come back as it was"):
        compare(model, bias=torch.tensor([-0.0]))


def test_a_tensor_of_another_dtype_or_none_is_refused() -> None:
    for bias in (torch.zeros(1, dtype=torch.float64), None):
        with pytest.raises(ValueError, match="bias is not there again"):
            compare(torch.nn.Linear(2, 1), bias=bias)


def test_what_nothing_opens_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing opens extra"):
        compare(torch.nn.Linear(2, 1), extra=torch.zeros(1))


def test_a_weight_under_its_other_name_need_not_be_exported_twice() -> None:
    model = tied()
    assert conversion._tied(model) == {"a.weight", "b.weight"}
    compare(model, b_weight=None)
    with pytest.raises(ValueError, match="b.bias"):
        compare(model, b_bias=None)


def test_buffers_that_a_checkpoint_does_not_hold_are_left_out() -> None:
    model = torch.nn.BatchNorm1d(2)
    model.register_buffer("noise", torch.zeros(1), persistent=False)
    tensors = dict(model.named_buffers())
    conversion._drop_buffers(model, tensors)
    assert tensors.keys() == {"running_mean", "running_var", "num_batches_tracked"}


def test_a_model_that_is_not_of_transformers_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["MyNet"]}))
    with pytest.raises(ValueError, match="MyNet is not a class of transformers"):
        conversion.complete(state(tmp_path))
    with pytest.raises(ValueError, match="what MyNet needs to be opened was not recorded"):
        conversion.complete(state(tmp_path, unknown="MyNet"))


def test_weights_without_a_configuration_stay_as_they_are(tmp_path: Path) -> None:
    conversion.complete(state(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]
