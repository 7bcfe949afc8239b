"""An import is recorded whole or not at all, with the curves from before."""

from __future__ import annotations

from pathlib import Path

import pytest

from branchtrack import control
from branchtrack.db import integrity, metrics, nodes, segments
from branchtrack.errors import CheckpointThinned, InvalidInput
from branchtrack.training.imports import folder, recording
from tests.training import tiny
from tests.training.homes import Home
from tests.training.imports import stock


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stock")
    stock.trained(path, max_steps=8)
    return stock.checkpoint(path, 4)


def test_a_run_has_a_root_an_ended_segment_and_the_curves(home: Home, written: Path) -> None:
    node = stock.imported(home, written)
    assert (node.kind, node.step, node.parent_id) == ("root", 4, None)
    assert node.message == "Imported from checkpoint-4" and node.epoch == pytest.approx(4 / 6)
    assert node.environment["transformers"]
    segment = home.segment("demo/main")
    assert (segment.status, segment.step, segment.max_steps) == ("finished", 4, 8)
    with home.database.read() as connection:
        loss = metrics.read(connection, [segment.id], "loss")[segment.id]
        problems = integrity.of_run(connection, node.run_id)
    assert loss.steps.tolist() == [1, 2, 3, 4] and node.metrics["loss"] == loss.values[-1]
    assert problems == []
    control.verify_node(home.database, home.store, node)


def test_a_second_import_is_another_run_with_the_same_tensors(home: Home, written: Path) -> None:
    first = stock.imported(home, written)
    packs = sorted(home.config.store.rglob("*.safetensors"))
    second = stock.imported(home, written)
    assert sorted(home.config.store.rglob("*.safetensors")) == packs
    assert first.state_digest == second.state_digest
    assert {run.name for run in home.runs()} == {"demo", "demo-2"}


def test_what_was_logged_after_the_checkpoint_is_left_out(written: Path) -> None:
    contents = folder.read(written)
    contents.counters["log_history"] += [{"loss": 1.0, "step": 5}, {"loss": 1.0}, {"step": "x"}]
    assert {step for _name, step, *_ in recording.points(contents)} == {1, 2, 3, 4}


def test_of_weights_alone_only_the_weights_can_be_resumed(home: Home, written: Path) -> None:
    for _ in range(2):
        # The second time the checkpoint is recorded already.
        node = stock.imported(home, written, weights_only=True)
        with home.database.read() as connection:
            assert nodes.thinned(connection, node.state_digest) == "weights"
    again = tiny.trainer(tiny.BranchingTrainer, home.folder / "again", **stock.HOW)
    with pytest.raises(CheckpointThinned, match="--mode weights"):
        home.run(again, resume_from_node=node.id)
    home.run(again, resume_from_node=node.id, mode="weights", branch="tuned")
    assert home.nodes("demo-2/tuned")[-1].kind == "final"


def test_what_fails_in_the_middle_leaves_nothing_listed(
    home: Home, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise InvalidInput("disk", "full", "more")

    monkeypatch.setattr(segments, "end", fail)
    with pytest.raises(InvalidInput):
        stock.imported(home, written)
    assert home.runs() == []
    monkeypatch.undo()
    stock.imported(home, written)
    assert [run.name for run in home.runs()] == ["demo"]
