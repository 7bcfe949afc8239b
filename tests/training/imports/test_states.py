"""The state of an import is that of a node of the same training, tensor for tensor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from branchtrack.errors import InvalidInput
from branchtrack.training.imports import folder, states
from tests.training.homes import Home
from tests.training.imports import stock


def test_it_is_the_state_of_a_node_without_the_position_in_the_data(
    home: Home, tmp_path: Path
) -> None:
    stock.trained(tmp_path)
    state = states.of(folder.read(stock.checkpoint(tmp_path)))
    home.train(**stock.HOW)
    node = home.node(8)
    expected = home.snapshot(node)
    tensors = state.snapshot.tensors
    assert {n for n in expected.tensors if not n.startswith("loop/data/")} == tensors.keys()
    for name, tensor in tensors.items():
        assert tensor.dtype == expected.tensors[name].dtype
        assert torch.equal(tensor, expected.tensors[name]), name
    assert state.snapshot.param_groups == expected.param_groups
    for part in expected.state.keys() - {"loop"}:
        assert state.snapshot.state[part] == expected.state[part], part
    assert state.snapshot.state["loop"]["trainer"] == expected.state["loop"]["trainer"]
    common = state.settings.keys() & node.settings.keys() - {"eval_steps"}
    assert {"lr", "max_steps", "batch_size", "weight_decay"} <= common
    assert all(state.settings[name] == node.settings[name] for name in common)


def test_tensors_that_were_on_the_host_beside_a_device_stay_there(tmp_path: Path) -> None:
    stock.trained(tmp_path, max_steps=4)
    contents = folder.read(stock.checkpoint(tmp_path, 4))
    assert states.of(contents).snapshot.state["optimizer"]["host"] == []
    assert contents.optimizer is not None
    contents.on_host = frozenset(
        entry["step"].untyped_storage().data_ptr() for entry in contents.optimizer["state"].values()
    )
    host = states.of(contents).snapshot.state["optimizer"]["host"]
    assert "transformer.wte.weight/step" in host and all(n.endswith("/step") for n in host)


def test_weights_of_an_unknown_model_are_imported_by_their_names_alone(tmp_path: Path) -> None:
    stock.trained(tmp_path, max_steps=4)
    path = stock.checkpoint(tmp_path, 4)
    (path / "config.json").unlink()
    with pytest.raises(InvalidInput, match="cannot be assigned to parameters: there is no config"):
        states.of(folder.read(path))
    state = states.of(folder.read(path, weights_only=True))
    assert not state.is_complete and "model/transformer.wte.weight" in state.snapshot.tensors


def test_random_states_that_are_none_are_refused(tmp_path: Path) -> None:
    stock.trained(tmp_path, max_steps=4)
    path = stock.checkpoint(tmp_path, 4)
    for broken in ({}, {"python": 1}, {"python": (3, (1, 2), None), "numpy": 0, "cpu": 0}):
        torch.save(broken, path / "rng_state.pth")
        with pytest.raises(InvalidInput, match="does not hold the states of generators"):
            states.of(folder.read(path))


def test_counters_of_callbacks_are_part_of_it(tmp_path: Path) -> None:
    stock.trained(tmp_path, max_steps=4)
    path = stock.checkpoint(tmp_path, 4)
    counters = json.loads((path / "trainer_state.json").read_text())
    stopping = {"args": {}, "attributes": {"early_stopping_patience_counter": 2}}
    counters["stateful_callbacks"]["EarlyStoppingCallback"] = stopping
    (path / "trainer_state.json").write_text(json.dumps(counters))
    loop = states.of(folder.read(path)).snapshot.state["loop"]
    assert loop["callbacks"] == {"EarlyStoppingCallback": [{"early_stopping_patience_counter": 2}]}
