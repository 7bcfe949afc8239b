"""A Trainer that branches is used exactly as the Trainer it was made from, and ends the same."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import EarlyStoppingCallback, Seq2SeqTrainer, Trainer, TrainingArguments

import branchtrack
from branchtrack.errors import InvalidInput
from branchtrack.training import rng
from branchtrack.training.trainer import checkpoint_pointers
from branchtrack.training.trainer.mixin import BranchTrackMixin
from tests.matrices import some
from tests.training import tiny
from tests.training.callbacks import Do
from tests.training.homes import Home

EVALUATED: dict[str, Any] = {"eval_strategy": "steps", "eval_steps": 2}
BEST: dict[str, Any] = {
    **EVALUATED,
    "load_best_model_at_end": True,
    "metric_for_best_model": "eval_loss",
    "learning_rate": 0.05,
    "lr_scheduler_type": "constant",
    "save_total_limit": 1,
    "held_out": tiny.Sentences(8, seed=1000),
}


STEPS = 8
SHORT: dict[str, Any] = {"max_steps": STEPS, "save_steps": 4}


def impatient() -> list[Any]:
    return [EarlyStoppingCallback(early_stopping_patience=2)]


ON_AND_OFF: dict[str, dict[str, Any]] = {
    "evaluation and saves": {**EVALUATED, "save_steps": 2},
    "saves at every step": {"save_steps": 1},
    "no saves": {"save_strategy": "no"},
    "epochs": {"save_strategy": "epoch", "eval_strategy": "epoch", "logging_strategy": "epoch"},
    "best": {**EVALUATED, "save_strategy": "best", "metric_for_best_model": "eval_loss"},
    "best model at the end": BEST,
    "best model of epochs": {**BEST, "save_strategy": "epoch", "eval_strategy": "epoch"},
    "best model alone saved": {**BEST, "save_strategy": "best"},
    "early stopping": {**BEST, "callbacks": impatient},
    "early stopping at epochs": {
        **BEST,
        "callbacks": impatient,
        "save_strategy": "epoch",
        "eval_strategy": "epoch",
        "max_steps": 60,
    },
    "accumulation": {"gradient_accumulation_steps": 3, **EVALUATED},
    "another model": {"model": tiny.normed, **EVALUATED, "save_strategy": "no"},
    "workers": {"dataloader_num_workers": 1, "max_steps": 7},
}


class Quiet(Trainer):
    """The stock Trainer, whose evaluation alone is kept from disturbing the random generators."""

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """As the stock one."""
        with rng.preserved():
            return super().evaluate(*args, **kwargs)


@pytest.mark.parametrize("evaluated", [{"eval_strategy": "steps", "eval_steps": 2}, BEST])
def test_evaluation_does_not_disturb_training(evaluated: dict[str, Any], home: Home) -> None:
    how = {**SHORT, **evaluated, "load_best_model_at_end": False}
    on = home.train(**how)
    off = tiny.trainer(
        Trainer, home.folder / "stock", **{**how, "eval_strategy": "no", "save_strategy": "no"}
    )
    off.train()
    assert tiny.same(tiny.weights(on), tiny.weights(off))


@pytest.mark.parametrize(
    "case",
    some(
        ON_AND_OFF, "saves at every step", "best model at the end", "early stopping", "accumulation"
    ),
)
def test_weights_and_logs_are_those_of_the_stock_trainer(case: str, home: Home) -> None:
    how = {"max_steps": STEPS, **ON_AND_OFF[case]}
    on = home.train(**how)
    stock = tiny.trainer(Quiet, home.folder / "stock", **how)
    stock.train()
    assert tiny.same(tiny.weights(on), tiny.weights(stock))
    assert stable(on.state.log_history) == stable(stock.state.log_history)
    for name in ("global_step", "best_metric", "best_global_step", "epoch"):
        assert getattr(on.state, name) == getattr(stock.state, name), name
    assert folders(home.folder / "output") <= folders(home.folder / "stock" / "output")
    if how.get("load_best_model_at_end"):
        kept = [Path(t.state.best_model_checkpoint).name for t in (on, stock)]
        assert kept[0] == kept[1]


def stable(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was logged, without what a clock measured."""
    clocks = ("runtime", "per_second")
    return [{k: v for k, v in row.items() if not k.endswith(clocks)} for row in history]


def folders(path: Path) -> set[str]:
    return {child.name for child in path.glob("checkpoint-*")}


def test_every_checkpoint_of_the_script_and_the_end_are_nodes(home: Home) -> None:
    home.train(max_steps=5, **EVALUATED)
    assert [(n.step, n.kind) for n in home.nodes()] == [
        (0, "root"),
        (2, "checkpoint"),
        (4, "checkpoint"),
        (5, "final"),
    ]
    parents = [node.parent_id for node in home.nodes()]
    assert parents == [None, *(node.id for node in home.nodes()[:-1])]
    assert "GPT2LMHeadModel" in home.nodes()[0].message
    assert home.final().metrics["eval_loss"] is not None
    assert home.branch("tiny/main").head_id == home.final().id
    (pointer,) = (home.folder / "output").iterdir()
    assert checkpoint_pointers.is_pointer(pointer)


SAVES: dict[str, tuple[dict[str, Any], list[int]]] = {
    "no": ({"save_strategy": "no"}, [0, 8]),
    "epoch": ({"save_strategy": "epoch"}, [0, 6, 8]),
    "steps": ({"save_steps": 5}, [0, 5, 8]),
    "a share": ({"save_steps": 0.5}, [0, 4, 8]),
}


@pytest.mark.parametrize("strategy", SAVES)
def test_nodes_are_where_the_script_saves(strategy: str, home: Home) -> None:
    how, steps = SAVES[strategy]
    home.train(max_steps=8, **how)
    assert [node.step for node in home.nodes()] == steps


def test_with_best_the_nodes_are_where_the_metric_was_best(home: Home) -> None:
    trainer = home.train(
        save_strategy="best", metric_for_best_model="eval_loss", **EVALUATED, max_steps=6
    )
    losses = {r["step"]: r["eval_loss"] for r in trainer.state.log_history if "eval_loss" in r}
    best = [s for s in losses if losses[s] == min(v for t, v in losses.items() if t <= s)]
    assert [n.step for n in home.nodes()] == sorted({0, *best, 6})


def test_the_final_node_holds_what_training_ended_in_not_the_best(home: Home) -> None:
    trainer = home.train(**{**BEST, "max_steps": STEPS, "save_strategy": "best"})
    assert trainer.state.best_global_step < STEPS
    final = home.final()
    assert (final.kind, final.step) == ("final", STEPS)
    last = home.snapshot(final).tensors["model/transformer.wpe.weight"]
    assert not torch.equal(last, trainer.model.transformer.wpe.weight)


def test_where_a_trainer_writes_is_no_part_of_the_state(home: Home) -> None:
    home.train(**{**BEST, "max_steps": 5})
    other = Home(home.folder / "other")
    other.train(**{**BEST, "max_steps": 5, "save_steps": 4})
    assert other.final().state_digest == home.final().state_digest


def test_early_stopping_counts_on_over_a_resume(home: Home) -> None:
    how = {**BEST, "callbacks": lambda: [EarlyStoppingCallback(3)], "max_steps": 40}
    whole = home.train(**how)
    assert 6 < whole.state.global_step < 40
    for node in (home.nodes()[1], home.nodes()[-2]):
        launch = home.order(node)
        resumed = home.train(launch, **how)
        assert resumed.state.global_step == whole.state.global_step
        assert home.final(launch).state_digest == home.final().state_digest
        assert tiny.same(tiny.weights(resumed), tiny.weights(whole))


def test_two_callbacks_of_one_class_keep_each_their_own(home: Home) -> None:
    def two() -> list[Any]:
        return [EarlyStoppingCallback(50, threshold) for threshold in (100.0, 0.0)]

    made: list[list[Any]] = []

    def kept() -> list[Any]:
        made.append(two())
        return made[-1]

    how = {**SHORT, **EVALUATED, "metric_for_best_model": "eval_loss", "callbacks": kept}
    home.train(**how)
    home.resume(home.node(4), **how)
    counts = [[c.early_stopping_patience_counter for c in callbacks] for callbacks in made]
    assert counts[0] == counts[1] and counts[0][0] != counts[0][1]


def test_restoring_callbacks_the_stock_way_changes_nothing(home: Home) -> None:
    how = {
        **BEST,
        "max_steps": 6,
        "callbacks": impatient,
        "restore_callback_states_from_checkpoint": True,
    }
    home.train(**how)
    launch = home.resume(home.nodes()[1], **how)
    assert home.final(launch).state_digest == home.final().state_digest


def test_the_mean_loss_of_a_resumed_training_is_of_all_its_updates(home: Home) -> None:
    how = {"logging_steps": 4, "save_steps": 3, "max_steps": 6}
    home.train(**how)
    trainer = home.train(home.order(home.node(3)), **how)
    (reported,) = [r["train_loss"] for r in trainer.state.log_history if "train_loss" in r]
    plain = Home(home.folder / "plain")
    plain.train(**{**how, "logging_steps": 1, "save_steps": 100})
    losses = plain.points("loss", plain.segment().id)
    mean = sum(losses[step] for step in range(1, 7)) / 6
    assert reported == pytest.approx(mean, rel=1e-6)


def test_a_checkpoint_of_the_stock_trainer_can_be_resumed(home: Home) -> None:
    stock = tiny.trainer(Trainer, home.folder / "stock", **SHORT)
    stock.train()
    folder = str(home.folder / "stock" / "output" / "checkpoint-4")
    trainer = tiny.trainer(tiny.BranchingTrainer, home.folder, **{**SHORT, "save_steps": 2})
    home.run(trainer, resume_from_checkpoint=folder)
    assert tiny.same(tiny.weights(trainer), tiny.weights(stock))
    assert [(n.step, n.kind) for n in home.nodes()][:2] == [(4, "root"), (8, "final")]
    launch = home.resume(home.node(4), **{**SHORT, "save_steps": 2})
    assert home.final(launch).state_digest == home.final().state_digest


def test_a_subclass_of_the_users_keeps_what_it_does(home: Home) -> None:
    calls: list[int] = []

    class Weighted(Trainer):
        """Has a loss of its own, and says how often."""

        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            calls.append(1)
            return 2 * super().compute_loss(*args, **kwargs)

    made = branchtrack.make_branching(Weighted)
    assert issubclass(made, Weighted) and made.__name__ == "BranchingWeighted"
    on = home.train(kind=made, **SHORT)
    stock = tiny.trainer(Weighted, home.folder / "stock", **SHORT)
    stock.train()
    assert tiny.same(tiny.weights(on), tiny.weights(stock)) and len(calls) == 2 * STEPS
    launch = home.resume(home.node(4), kind=made, **SHORT)
    assert home.final(launch).state_digest == home.final().state_digest


def test_make_branching_takes_trainer_classes_only() -> None:
    assert branchtrack.make_branching(Trainer) is tiny.BranchingTrainer
    assert branchtrack.make_branching(tiny.BranchingTrainer) is tiny.BranchingTrainer
    assert issubclass(branchtrack.make_branching(Seq2SeqTrainer), (BranchTrackMixin))
    for wrong in (int, "Trainer", None, TrainingArguments):
        with pytest.raises(InvalidInput, match="transformers.Trainer"):
            branchtrack.make_branching(wrong)


def explode(error: BaseException) -> Callable[..., None]:
    def work(**_: Any) -> None:
        raise error

    return work


ENDS: list[tuple[BaseException, str, str]] = [
    (ValueError("the data is bad"), "failed", "ValueError: the data is bad"),
    (SystemExit(3), "failed", "SystemExit: 3"),
    (KeyboardInterrupt(), "stopped", "Interrupted from the keyboard."),
]


@pytest.mark.parametrize(("error", "status", "words"), ENDS, ids=["error", "exit", "Ctrl-C"])
def test_an_exception_ends_the_segment_and_is_raised_again(
    error: BaseException, status: str, words: str, home: Home
) -> None:
    trainer = tiny.trainer(
        tiny.BranchingTrainer,
        home.folder,
        callbacks=lambda: [Do("on_step_begin", 5, explode(error))],
    )
    with pytest.raises(type(error)) as caught:
        home.run(trainer)
    assert caught.value is error
    assert (home.segment().status, home.segment().error) == (status, words)
    assert home.segment().step == 5
    assert list(home.points("loss", home.segment().id)) == [1, 2, 3, 4, 5]
    assert home.nodes()[-1].step == 4 and home.chain_break() is None


def test_a_training_that_failed_can_be_gone_on_with(home: Home) -> None:
    trainer = tiny.trainer(
        tiny.BranchingTrainer,
        home.folder,
        callbacks=lambda: [Do("on_step_begin", 5, explode(ValueError("once")))],
        **SHORT,
    )
    with pytest.raises(ValueError, match="once"):
        home.run(trainer)
    launch = home.resume(home.nodes()[-1], **SHORT)
    plain = Home(home.folder / "plain")
    plain.train(**SHORT)
    assert home.final(launch).state_digest == plain.final().state_digest


def test_a_batch_that_does_not_fit_in_memory_begins_anew(home: Home) -> None:
    class Tight(tiny.BranchingTrainer):
        """Has memory for batches of two."""

        def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            if len(inputs["input_ids"]) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return super().training_step(model, inputs, *args, **kwargs)

    how = {"auto_find_batch_size": True, "save_steps": 5, "max_steps": STEPS}
    trainer = home.train(kind=Tight, **how)
    assert trainer.state.global_step == STEPS
    assert [n.step for n in home.nodes() if n.kind != "root"][-2:] == [5, 8]
    assert home.segment().status == "finished"
    launch = home.resume(home.node(5), kind=Tight, **how)
    assert home.final(launch).state_digest == home.final().state_digest


def test_a_trainer_can_train_twice(home: Home) -> None:
    trainer = home.train(max_steps=4)
    home.run(trainer)
    assert [n.step for n in home.nodes("tiny-2/main")] == [0, 2, 4]


def test_the_launch_is_taken_out_of_the_environment(home: Home) -> None:
    seen: list[str | None] = []
    home.train(**SHORT)
    launch = home.order(home.node(4))
    look = Do("on_step_begin", 5, lambda **_: seen.append(os.environ.get("BRANCHTRACK_LAUNCH")))
    home.train(launch, callbacks=lambda: [look], **SHORT)
    assert seen == [None]


def test_a_training_of_no_updates_has_its_root_alone(home: Home) -> None:
    home.train(max_steps=-1, num_train_epochs=0)
    assert [(n.step, n.kind) for n in home.nodes()] == [(0, "root")]
    assert home.segment().status == "finished"


def test_attributes_and_methods_of_the_class_stay_its_own(home: Home) -> None:
    class Own(tiny.Trainer):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.schedule, self.bounds, self.settings = [1.0, 2.0], 0, {"a": 1}
            self.place = self.script = self.attributes = self.tracked = self.first_step = "mine"

        def track(self, value: int) -> int:
            return value + 1

        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            assert self.schedule == [1.0, 2.0] and self.track(1) == 2
            return super().compute_loss(*args, **kwargs)

    trainer = home.train(kind=branchtrack.make_branching(Own), max_steps=2)
    assert trainer.settings == {"a": 1} and trainer.first_step == "mine"
    with pytest.raises(InvalidInput, match="settings"):
        trainer.declare(b=2)
