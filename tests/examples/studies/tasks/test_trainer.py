"""The Trainer of the studies: its schedules, and a test loss that is measured once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from branchtrack.db import metrics, runs, segments
from branchtrack.examples.studies.tasks import text, trainer
from tests.examples.studies import small


def test_the_model_returns_the_loss_of_its_network() -> None:
    torch.manual_seed(0)
    model = trainer.Model(32)
    windows = torch.randint(0, 256, (2, text.CONTEXT))
    assert torch.equal(model(windows)["loss"], text.loss(model.network, windows))


def test_the_rate_is_as_the_options_say() -> None:
    chosen = trainer.parser().parse_args(["--schedule", "cosine", "--warm-up", "7"])
    cosine = trainer.arguments(chosen)
    assert (cosine.lr_scheduler_type, cosine.warmup_steps) == ("cosine", 7)
    falling = trainer.arguments(trainer.parser().parse_args(["--decay", "30"]))
    assert falling.lr_scheduler_type == "warmup_stable_decay"
    assert falling.lr_scheduler_kwargs == {"num_decay_steps": 30, "decay_type": "linear"}


def test_the_test_loss_is_measured_once_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = small.home(monkeypatch, tmp_path)
    monkeypatch.chdir(tmp_path)
    words = "--name small --size 32 --batch 2 --steps 4 --every 2 --save 4 --decay 2 --warm-up 1"
    monkeypatch.setattr(sys, "argv", ["trainer", *words.split()])
    trainer.main()
    with database.read() as connection:
        run = runs.find_run(connection, "small")
        (segment,) = segments.list_of_run(connection, run.id)
        series = {
            name: metrics.read(connection, [segment.id], name)[segment.id].steps.tolist()
            for name in ("eval_loss", "test_loss")
        }
    assert segment.status == "finished" and segment.step == 4
    assert series == {"eval_loss": [2, 4], "test_loss": [4]}
    database.close()
