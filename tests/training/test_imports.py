"""A stock Trainer's checkpoint, imported, is continued to the bits of the stock training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, EarlyStoppingCallback

from branchtrack.db import runs
from tests.matrices import some
from tests.training import tiny
from tests.training.homes import Home
from tests.training.imports import stock

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


class Marked(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Sentences with a class each."""

    def __len__(self) -> int:
        return tiny.SAMPLES

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        tokens = tiny.Sentences()[index]["input_ids"]
        return {"input_ids": tokens, "labels": (tokens.sum() % 2).long()}


def bert() -> BertForSequenceClassification:
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
    )
    return BertForSequenceClassification(config)


def plain_adam(model: torch.nn.Module) -> tuple[Any, Any]:
    return torch.optim.Adam(model.parameters(), 1e-3), None


WAYS: dict[str, dict[str, Any]] = {
    "gpt": {},
    "bert": {"model": bert, "data": Marked()},
    "decayed": {"weight_decay": 0.1, "max_grad_norm": 0.5},
    "accumulated": {"gradient_accumulation_steps": 2, "max_steps": 12},
    "at an epoch": {"save_steps": 6},
    "at the first update": {"save_steps": 1, "max_steps": 5},
    "adafactor": {"optim": "adafactor"},
    "sgd": {"optim": "sgd"},
    "an Adam of the script": {"optimizers": plain_adam},
    "bf16 weights": {"model": lambda: tiny.gpt().to(torch.bfloat16)},
}
FEW = ("gpt", "bert", "adafactor", "an Adam of the script")


@pytest.mark.parametrize("way", some(WAYS, *FEW))
def test_it_ends_in_the_bits_of_the_stock_training(way: str, home: Home, tmp_path: Path) -> None:
    how = {**stock.HOW, **WAYS[way]}
    whole = stock.trained(tmp_path, **how)
    step = {"at an epoch": 6, "at the first update": 1}.get(way, 8)
    node = stock.imported(home, stock.checkpoint(tmp_path, step))
    again = tiny.trainer(tiny.BranchingTrainer, tmp_path / "again", **how)
    home.run(again, resume_from_node=node.id)
    assert tiny.same(tiny.weights(again), tiny.weights(whole))
    assert again.state.global_step == whole.state.global_step


def test_an_evaluation_draws_no_random_number_as_a_stock_one_does(
    home: Home, tmp_path: Path
) -> None:
    how = {
        **stock.HOW,
        "evaluated": True,
        "eval_strategy": "steps",
        "eval_steps": 2,
        "metric_for_best_model": "loss",
        "lr_scheduler_type": "reduce_lr_on_plateau",
        "callbacks": lambda: [EarlyStoppingCallback(9)],
    }
    whole = stock.trained(tmp_path, **how)
    node = stock.imported(home, stock.checkpoint(tmp_path))
    again = tiny.trainer(tiny.BranchingTrainer, tmp_path / "again", **how)
    home.run(again, resume_from_node=node.id)
    expected, resumed = (
        {entry["step"]: entry["loss"] for entry in t.state.log_history if "loss" in entry}
        for t in (whole, again)
    )
    # Up to the next evaluation both draw the same.
    assert all(resumed[step] == expected[step] for step in range(1, 11))
    assert again.state.best_metric is not None


def test_the_run_can_be_launched_once_a_script_has_resumed_it(home: Home, tmp_path: Path) -> None:
    stock.trained(tmp_path)
    node = stock.imported(home, stock.checkpoint(tmp_path))
    with home.database.read() as connection:
        assert runs.get_run(connection, node.run_id).entry_point is None
    home.run(
        tiny.trainer(tiny.BranchingTrainer, tmp_path / "again", **stock.HOW),
        resume_from_node=node.id,
    )
    with home.database.read() as connection:
        run = runs.get_run(connection, node.run_id)
    assert run.entry_point is not None and run.training["number"] == 1
