"""What a script requests of a Trainer is compared, and a node's settings become its arguments."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from branchtrack.errors import InvalidInput
from branchtrack.training.settings.author import Values
from branchtrack.training.trainer import script
from branchtrack.training.trainer.script import TrainerComparison

SETTINGS = {"max_steps": 100, "betas": [0.9, 0.999], "lr": 0.1, "lr_scheduler_type": "linear"}


def args(**changed: Any) -> Any:
    values: dict[str, Any] = {
        "lr_scheduler_type": "linear",
        "lr_scheduler_kwargs": None,
        "learning_rate": 0.1,
        "max_steps": 10,
        "data_seed": None,
        "n_gpu": 2,
        "eval_strategy": "steps",
        "metric_for_best_model": None,
        "get_warmup_steps": lambda _: 0,
        **changed,
    }
    return SimpleNamespace(**values, to_dict=lambda: values)


def trainer(**changed: Any) -> Any:
    return SimpleNamespace(
        args=args(**changed),
        model=torch.nn.Linear(2, 1),
        train_dataset=[1, 2, 3],
        eval_dataset={"a": [1], "b": iter(())},
        data_collator=len,
        _bt_values=Values({"alpha": 0.5}),
        _train_batch_size=4,
    )


def option(name: str, actual: Any, expected: Any, **settings: Any) -> str:
    records = {name: actual}, {name: expected}
    return TrainerComparison(*records, {**SETTINGS, **settings}, {}).option(name)


def test_a_record_has_what_trains_and_neither_secrets_nor_folders() -> None:
    record = script.describe_script(trainer(hub_token="s3cret", api_key="s3cret", output_dir="/a"))
    assert not {"hub_token", "api_key", "output_dir", "data_seed"} & record.keys()
    assert (record["learning_rate"], record["settings.alpha"]) == (0.1, 0.5)
    assert (record["dataset_length"], record["data_collator"]) == (3, "len")
    assert record["eval_dataset_length"] == {"a": 1, "b": None}
    assert "s3cret" not in str(record)


@pytest.mark.parametrize(
    ("name", "actual", "expected", "declared"),
    [
        ("learning_rate", 0.2, 0.1, "--set lr=0.2"),
        ("adam_beta2", 0.9, 0.999, "--set betas=0.9,0.9"),
        ("adam_beta1", 0.5, 0.9, "--set betas=0.5,0.999"),
        ("max_steps", 50, 100, "--set max_steps=50 --set horizon=rescale"),
        ("max_steps", -1, 100, ""),
        ("num_train_epochs", 3, 2, "--set max_steps=150 --set horizon=rescale"),
        ("lr_scheduler_type", "cosine", "linear", "--set lr_scheduler_type=cosine"),
        ("data_collator", "a", "b", ""),
    ],
)
def test_a_difference_says_how_it_is_declared(
    name: str, actual: Any, expected: Any, declared: str
) -> None:
    assert option(name, actual, expected) == declared


def test_the_end_of_a_schedule_without_one_needs_no_horizon() -> None:
    settings = {"lr_scheduler_type": "constant"}
    assert option("max_steps", 50, 100, **settings) == "--set max_steps=50"


def test_a_script_that_requests_what_the_node_has_differs_in_nothing() -> None:
    comparison = TrainerComparison({"adam_beta2": 0.999}, {"adam_beta2": 0.99}, SETTINGS, {})
    assert comparison.is_in_node("adam_beta2")
    assert not TrainerComparison({"adam_beta1": 0.999}, {}, SETTINGS, {}).is_in_node("adam_beta1")


def test_settings_of_a_node_are_put_where_the_trainer_reads_them() -> None:
    taker = trainer(data_seed=1)
    values = {"seed": 7, "batch_size": 16, "save_steps": 3, "warmup_steps": 2}
    script.take(taker, {**values, "lr_scheduler_type": "cosine", "lr_scheduler_kwargs": ""})
    assert (taker.args.seed, taker.args.data_seed, taker.args.save_steps) == (7, 7, 3)
    assert (taker.args.per_device_train_batch_size, taker._train_batch_size) == (8, 16)
    assert taker.args.lr_scheduler_type == "cosine" and taker.args.lr_scheduler_kwargs is None
    assert not hasattr(taker.args, "logging_steps")


def test_a_schedule_that_watches_needs_an_evaluation() -> None:
    with pytest.raises(InvalidInput, match="does not evaluate"):
        script.take(trainer(eval_strategy="no"), {"lr_scheduler_type": "reduce_lr_on_plateau"})
    taker = trainer()
    script.take(taker, {"lr_scheduler_type": "reduce_lr_on_plateau"})
    assert (taker.args.metric_for_best_model, taker.args.greater_is_better) == ("loss", False)


def test_arguments_that_transformers_refuses_are_refused_before_training() -> None:
    script.check_schedule(trainer(), None)
    with pytest.raises(InvalidInput, match="transformers refused the schedule") as caught:
        script.check_schedule(trainer(lr_scheduler_kwargs={"nope": 1}), 0.1)
    assert caught.value.field == "lr_scheduler_kwargs"
