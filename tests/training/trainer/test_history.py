"""What follows `train()` in a script sees the whole training, and each branch has its own files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import EarlyStoppingCallback

from tests.training import tiny
from tests.training.homes import Home
from tests.training.session.test_session import asked

LOGGED = {
    "max_steps": 8,
    "save_steps": 2,
    "logging_steps": 2,
    "eval_strategy": "steps",
    "eval_steps": 4,
}
SHORT = {"max_steps": 6, "save_steps": 4}
BEST: dict[str, Any] = {
    "max_steps": 10,
    "eval_strategy": "steps",
    "eval_steps": 2,
    "save_steps": 2,
    "load_best_model_at_end": True,
    "metric_for_best_model": "score",
    "greater_is_better": True,
    "save_total_limit": 2,
}


def history(trainer: Any) -> list[dict[str, Any]]:
    """What was logged, without what depends on how quick the machine is."""
    return [
        {
            name: value
            for name, value in entry.items()
            if "runtime" not in name and "per" not in name
        }
        for entry in trainer.state.log_history
    ]


def summaries(trainer: Any) -> list[tuple[int, float]]:
    """The steps and mean losses of the ends of trainings in the log."""
    logged = trainer.state.log_history
    return [(entry["step"], entry["train_loss"]) for entry in logged if "train_loss" in entry]


def test_the_log_is_whole_after_a_resume(home: Home) -> None:
    whole = home.train(**LOGGED)
    for step in (4, 6):
        resumed = home.train(home.order(home.node(step)), **LOGGED)
        assert history(resumed) == history(whole), step


def test_the_log_has_no_summary_of_a_part_that_was_stopped_or_had_ended(home: Home) -> None:
    whole = home.train(**LOGGED)
    stopped = asked(home, {3: lambda: home.ask("stop", branch="tiny-2/main")}, **LOGGED)
    assert "train_loss" in stopped.state.log_history[-1]
    resumed = home.train(home.order(home.nodes("tiny-2/main")[-1]), **LOGGED)
    assert history(resumed) == history(whole)
    further = {"max_steps": 10, "horizon": "rescale"}
    longer = home.train(home.order(home.final(), further), **LOGGED)
    assert [step for step, _ in summaries(longer)] == [10]


def test_a_training_that_is_passed_over_has_its_own_summary_alone(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked(home, {3: lambda: home.ask("stop")}, **LOGGED)
    monkeypatch.setenv("BRANCHTRACK_CONTINUE", "1")
    ended = home.train(**LOGGED)
    passed_over = home.train(**LOGGED)
    assert len(home.runs()) == 1 and len(history(passed_over)) == len(history(ended))
    assert summaries(passed_over) == summaries(ended) and len(summaries(ended)) == 1


def test_the_mean_loss_is_that_of_the_whole_training(home: Home) -> None:
    def train(launch: Any = None) -> Any:
        trainer = tiny.trainer(tiny.BranchingTrainer, home.folder, **LOGGED)
        results: list[Any] = []
        inner = trainer.train
        trainer.train = lambda *args: results.append(inner(*args))
        home.run(trainer, launch)
        return results[0]

    whole = train()
    resumed = train(home.order(home.node(6)))
    assert resumed.training_loss == whole.training_loss == resumed.metrics["train_loss"]
    assert resumed.global_step == whole.global_step


def score(best: int) -> Any:
    """Metrics by which one step is the best of all."""

    def compute(trainer: Any) -> Any:
        return lambda _: {"score": -abs(trainer.state.global_step - best)}

    return compute


def train_to_best(home: Home, launch: Any = None, best: int = 6, **how: Any) -> Any:
    """Train with the best model loaded at the end."""
    trainer = tiny.trainer(tiny.BranchingTrainer, home.folder, **{**BEST, **how})
    trainer.compute_metrics = score(best)(trainer)
    return home.run(trainer, launch)


def model_of(home: Home, step: int, branch: str = "tiny/main") -> dict[str, torch.Tensor]:
    """A node's weights by name."""
    node = next(node for node in home.nodes(branch) if node.step == step)
    tensors = home.snapshot(node).tensors
    return {n.removeprefix("model/"): t for n, t in tensors.items() if n.startswith("model/")}


def loaded(trainer: Any, weights: dict[str, torch.Tensor]) -> bool:
    """Whether a trainer's model has these weights."""
    state = trainer.model.state_dict()
    return all(torch.equal(state[name], weights[name]) for name in state)


def test_the_best_model_of_before_is_loaded_though_its_folder_is_gone(home: Home) -> None:
    whole = train_to_best(home)
    assert loaded(whole, model_of(home, 6))
    node = home.node(8)
    shutil.rmtree(home.folder / "output")
    launch = home.order(node, name="again")
    resumed = train_to_best(home, launch)
    assert loaded(resumed, model_of(home, 6))
    folder = home.folder / "output" / "branches" / "again" / "checkpoint-6"
    assert Path(resumed.state.best_model_checkpoint) == folder and folder.is_dir()
    assert home.final(launch).state_digest == home.final().state_digest


def test_each_branch_has_a_folder_of_its_own(home: Home) -> None:
    first = train_to_best(home)
    before = sorted(path.name for path in (home.folder / "output").iterdir())
    launch = home.order(home.node(2), {"lr": 0.05}, name="hot")
    second = train_to_best(home, launch)
    after = sorted(path.name for path in (home.folder / "output").iterdir())
    assert after == ["branches", *before]
    assert loaded(second, model_of(home, 6, "tiny/hot")) and not loaded(second, model_of(home, 6))
    assert first.args.output_dir != second.args.output_dir


def test_a_trainer_that_trains_again_writes_where_its_script_says(home: Home) -> None:
    trainer = tiny.trainer(tiny.BranchingTrainer, home.folder, **SHORT)
    folder = trainer.args.output_dir
    home.run(trainer)
    for name in ("a", "b"):
        home.run(trainer, resume_from_node=home.node(4).id, branch=name)
        assert trainer.args.output_dir == str(Path(folder) / "branches" / name)
    home.run(trainer)
    assert trainer.args.output_dir == folder
    trainer.args.output_dir = str(home.folder / "elsewhere")
    home.run(trainer)
    assert trainer.args.output_dir == str(home.folder / "elsewhere")


def test_a_training_that_a_callback_ended_is_not_gone_on_with(home: Home) -> None:
    how = {**BEST, "metric_for_best_model": "eval_score"}

    def train(launch: Any = None, **changed: Any) -> Any:
        trainer = tiny.trainer(
            tiny.BranchingTrainer,
            home.folder,
            callbacks=lambda: [EarlyStoppingCallback(2)],
            **{**how, **changed},
        )
        trainer.compute_metrics = score(4)(trainer)
        return home.run(trainer, launch)

    whole = train()
    assert whole.state.global_step == 8
    launch = home.order(home.final(), name="same")
    resumed = train(launch)
    assert resumed.state.global_step == 8 and loaded(resumed, model_of(home, 4))
    assert [node.kind for node in home.nodes(launch.branch_id)] == ["fork"]
    assert resumed.state.best_metric == whole.state.best_metric
    declared = home.order(home.final(), {"lr": 1e-4}, name="on")
    assert train(declared).state.global_step > 8


def test_a_stop_that_was_asked_for_can_be_gone_on_from(home: Home) -> None:
    asked(home, {3: lambda: home.ask("stop")}, **SHORT)
    launch = home.order(home.final())
    assert home.train(launch, **SHORT).state.global_step == 6
