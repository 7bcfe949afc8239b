"""The files that a stock Trainer resumes from are those that torch's own formats would have."""

from __future__ import annotations

import io
import json
import random
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler as schedulers

from branchtrack.training import rng
from branchtrack.training.export import stock_trainer
from branchtrack.training.settings.live import Live
from branchtrack.training.state import optimizers


@pytest.fixture
def live() -> Live:
    """An optimizer and a scheduler after two updates."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
    optimizer = torch.optim.AdamW([{"params": layer.parameters()} for layer in model], 0.1)
    schedule = schedulers.StepLR(optimizer, 1, 0.5)
    live = Live(model, optimizer, schedule, SimpleNamespace(), [True, True])
    for _ in range(2):
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        schedule.step()
    return live


def facts(live: Live) -> dict[str, Any]:
    return {"step": 2, "settings": {}, "param_groups": optimizers.group_settings(live)}


def test_an_optimizer_is_as_torch_would_have_saved_it(live: Live) -> None:
    tensors: dict[str, torch.Tensor] = {}
    state = optimizers.state_of(live, tensors)
    saved, expected = stock_trainer._optimizer(state, tensors, facts(live)), live.optimizer
    fresh = torch.optim.AdamW([{"params": layer.parameters()} for layer in live.model], 9.0)
    fresh.load_state_dict(saved)
    assert saved.keys() == expected.state_dict().keys()
    assert [group["lr"] for group in fresh.param_groups] == [0.025, 0.025]
    for parameter in live.model.parameters():
        assert torch.equal(fresh.state[parameter]["exp_avg"], expected.state[parameter]["exp_avg"])


def test_a_scheduler_has_the_rates_of_the_groups_again(live: Live) -> None:
    tensors: dict[str, torch.Tensor] = {}
    state = optimizers.schedule_of(live, tensors)
    assert state is not None
    saved = stock_trainer._scheduler(state, tensors, facts(live))
    assert saved["base_lrs"] == [0.1, 0.1] and saved["_last_lr"] == [0.025, 0.025]
    assert saved["last_epoch"] == 2


def test_random_states_go_on_where_they_were() -> None:
    with rng.preserved():
        states = stock_trainer._random(rng.capture())
        drawn = random.random(), float(np.random.rand()), float(torch.rand(()))
        random.setstate(states["python"])
        np.random.set_state(states["numpy"])
        torch.set_rng_state(states["cpu"])
        assert (random.random(), float(np.random.rand()), float(torch.rand(()))) == drawn


def test_the_counters_are_the_nodes_with_its_settings() -> None:
    settings = {"max_steps": 9, "save_steps": 3, "eval_steps": None, "batch_size": 4}
    state = stock_trainer._trainer({"epoch": 1.5}, {"step": 5, "settings": settings, "epochs": 2})
    assert (state["global_step"], state["max_steps"], state["save_steps"]) == (5, 9, 3)
    assert (state["epoch"], state["train_batch_size"], state["num_train_epochs"]) == (1.5, 4, 2)
    assert "eval_steps" not in state and state["log_history"] == []
    json.dumps(state)


def test_a_node_of_a_plain_loop_has_no_such_files(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(json.dumps({"loop": {"begun": True}, "optimizer": {}}))
    stock_trainer.write(tmp_path, {})
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_an_error_is_told_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["stock_trainer", str(tmp_path)])
    monkeypatch.setattr(sys, "stdin", io.StringIO("{}"))
    assert stock_trainer.main() == 1
    assert "FileNotFoundError" in json.loads(capsys.readouterr().out)["error"]
