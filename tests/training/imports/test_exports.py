"""A node that was exported and imported again has its state, unless the folder was trained in."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from branchtrack import control
from branchtrack.checkpoints.export import export
from branchtrack.core.records import Node
from branchtrack.db import nodes
from branchtrack.training.export import conversion, stock_trainer
from branchtrack.training.imports import exports, folder, states
from tests.training import tiny
from tests.training.homes import Home
from tests.training.imports import stock


def exported(home: Home, node: Node, path: Path) -> Path:
    """As `branchtrack export` does, in this process."""
    with home.database.read() as connection:
        stored = nodes.checkpoint(connection, node.state_digest)
    manifest = control.verify_node(home.database, home.store, node)
    export(home.store, manifest, stored.locations, path)
    conversion.complete(path)
    facts = {"step": node.step, "settings": node.settings, "param_groups": node.param_groups}
    stock_trainer.write(path, {**facts, "epochs": 1})
    return path


def test_it_has_the_digest_of_the_node_and_continues_as_that_does(
    home: Home, tmp_path: Path
) -> None:
    whole = home.train(**stock.HOW)
    node = home.node(8)
    again = stock.imported(home, exported(home, node, tmp_path / "out"))
    assert again.state_digest == node.state_digest
    resumed = tiny.trainer(tiny.BranchingTrainer, tmp_path / "again", **stock.HOW)
    home.run(resumed, resume_from_node=again.id)
    assert tiny.same(tiny.weights(resumed), tiny.weights(whole))


def test_of_another_state_nothing_is_taken_and_it_is_named(home: Home, tmp_path: Path) -> None:
    home.train(**stock.HOW)
    path = exported(home, home.node(8), tmp_path / "out")
    optimizer = torch.load(path / "optimizer.pt", weights_only=True)
    optimizer["state"][0]["exp_avg"][0, 0] += 1
    torch.save(optimizer, path / "optimizer.pt")
    contents = folder.read(path)
    state = states.of(contents)
    assert state.snapshot.state["loop"]["data"] == {}
    assert "not of the same state" in contents.left_out["state.json"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"loop": {"trainer": 1}}', '{"loop": 5}'])
def test_a_state_of_another_program_is_none_of_ours(text: str, home: Home, tmp_path: Path) -> None:
    stock.trained(tmp_path, max_steps=4)
    path = stock.checkpoint(tmp_path, 4)
    (path / "state.json").write_text(text)
    (path / "training_state.safetensors").write_bytes((path / "model.safetensors").read_bytes())
    contents = folder.read(path)
    assert contents.exported is None and exports.read(path, {"state.json"}) is None
    assert {"state.json", "training_state.safetensors"} <= contents.left_out.keys()
