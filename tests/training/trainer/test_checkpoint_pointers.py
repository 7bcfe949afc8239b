"""A script finds its newest node where it looks for its newest checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers.trainer_utils import get_last_checkpoint

from branchtrack.training.trainer import checkpoint_pointers
from tests.training import tiny
from tests.training.callbacks import Do
from tests.training.homes import Home


class Preempted(Exception):
    """The process is taken away."""


def preempt() -> None:
    raise Preempted


def test_the_idiom_of_the_last_checkpoint_goes_on_in_the_branch(home: Home) -> None:
    stop = Do("on_step_begin", 9, lambda **_: preempt())
    with pytest.raises(Preempted):
        home.train(callbacks=lambda: [stop])
    folder = str(home.folder / "output")
    last = get_last_checkpoint(folder)
    assert last is not None and last.endswith("checkpoint-8")
    named = json.loads((Path(last) / checkpoint_pointers.NAME).read_text())["node"]
    assert named == home.node(8).id
    trainer = tiny.trainer(tiny.BranchingTrainer, home.folder)
    home.run(trainer, resume_from_checkpoint=last)
    assert [run.name for run in home.runs()] == ["tiny"] and trainer.state.global_step == 14
    assert get_last_checkpoint(folder).endswith("checkpoint-14")
    assert sorted(home.points("loss", home.segment().id)) == list(range(9, 15))


def test_only_the_newest_is_named_and_files_of_others_stay(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-2").mkdir()
    (tmp_path / "checkpoint-2" / "model.safetensors").write_text("x")
    for step in (4, 2, 3):
        checkpoint_pointers.write(tmp_path, step, "a" * 16)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-2", "checkpoint-3"]
    assert (tmp_path / "checkpoint-2" / "model.safetensors").exists()
    checkpoint_pointers.write(tmp_path / "file", 1, "a" * 16)
    (tmp_path / "plain").write_text("")
    checkpoint_pointers.write(tmp_path / "plain", 1, "a" * 16)


def test_a_name_without_a_record_begins_anew(home: Home) -> None:
    checkpoint_pointers.write(home.folder / "output", 6, "a" * 16)
    trainer = tiny.trainer(tiny.BranchingTrainer, home.folder)
    home.run(trainer, resume_from_checkpoint=True)
    assert trainer.state.global_step == 14 and len(home.runs()) == 1
