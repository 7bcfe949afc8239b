from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

from branchtrack.errors import CheckpointMismatch
from branchtrack.training.state import pieces
from branchtrack.training.state.pieces import Layout, StoredPieces
from tests.training.groups import group_of_one


def stored(tensor: torch.Tensor) -> StoredPieces:
    """A tensor as it is known before its rows are read."""
    return StoredPieces(tensor.dtype, tuple(tensor.shape), lambda first, end: tensor[first:end])


def test_plain_tensors_stay_what_they_are() -> None:
    layouts: dict[str, Layout] = {}
    tensors = {"model/w": torch.ones(3, 2)}
    assert pieces.apart(tensors, layouts)["model/w"] is tensors["model/w"]
    assert layouts == {}
    assert pieces.local(tensors["model/w"]) is tensors["model/w"]


def test_the_module_of_sharded_tensors_is_not_loaded_to_ask(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "torch.distributed.tensor")
    assert not pieces.is_sharded(torch.ones(1))
    assert "torch.distributed.tensor" not in sys.modules


def test_a_sharded_tensor_gives_its_rows_and_where_they_lie() -> None:
    with group_of_one():
        model = fully_shard(torch.nn.Linear(3, 5))
        layouts: dict[str, Layout] = {}
        held = pieces.apart({"model/weight": model.weight}, layouts)
        assert layouts == {"model/weight": Layout((5, 3), 0)}
        assert not pieces.is_sharded(held["model/weight"])
        assert held["model/weight"].shape == (5, 3)


def test_what_every_rank_has_whole_has_no_layout_and_columns_are_refused() -> None:
    with group_of_one():
        mesh = init_device_mesh("cpu", (1,))
        layouts: dict[str, Layout] = {}
        whole = distribute_tensor(torch.ones(4, 2), mesh, [Replicate()])
        assert pieces.apart({"a": whole}, layouts)["a"].shape == (4, 2)
        assert layouts == {}
        columns = distribute_tensor(torch.ones(4, 2), mesh, [Shard(1)])
        with pytest.raises(CheckpointMismatch, match="a is sharded as .* only rows"):
            pieces.apart({"a": columns}, layouts)


def test_a_plain_model_gets_every_tensor_whole() -> None:
    weight = torch.arange(6.0).reshape(3, 2)
    fitted = pieces.fitted({"model/weight": stored(weight)}, torch.nn.Linear(2, 3))
    assert torch.equal(fitted["model/weight"], weight)
    assert pieces.whole(weight) is weight


@pytest.mark.parametrize("form", [stored, lambda tensor: tensor], ids=["pieces", "whole"])
def test_a_sharded_model_gets_its_rows_of_weights_moments_and_gradients(form: Any) -> None:
    weight = torch.arange(15.0).reshape(5, 3)
    names = ("model/weight", "optimizer/weight/exp_avg", "optimizer/adam/weight/exp_avg")
    with group_of_one():
        model = fully_shard(torch.nn.Linear(3, 5))
        step = torch.tensor(3.0)
        given = {name: form(weight) for name in names} | {"optimizer/weight/step": step}
        fitted = pieces.fitted(given, model)
        for name in names:
            assert pieces.is_sharded(fitted[name])
            assert torch.equal(pieces.local(fitted[name]), weight)
        assert fitted["optimizer/weight/step"] is step


def test_a_rank_reads_only_its_own_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, read = torch.arange(15.0).reshape(5, 3), []

    def rows(first: int, end: int) -> torch.Tensor:
        read.append((first, end))
        return weight[first:end]

    with group_of_one():
        model = fully_shard(torch.nn.Linear(3, 5))
        monkeypatch.setattr(pieces, "_layout", lambda name, tensor: (Layout((5, 3), 2), True))
        local = SimpleNamespace(shape=(2, 3), device=torch.device("cpu"))
        monkeypatch.setattr(pieces, "local", lambda tensor: local)
        pieces.fitted({"model/weight": StoredPieces(weight.dtype, (5, 3), rows)}, model)
    assert read == [(2, 4)]
