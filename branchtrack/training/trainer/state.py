"""What a Hugging Face Trainer's training consists of: its live objects, its state, its data.

Reads and writes the parts of a `Trainer`; it must not know sessions, requests or the database.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from transformers.trainer_callback import ExportableState, TrainerState

from branchtrack.errors import InvalidInput
from branchtrack.training import rng
from branchtrack.training.attributes.changes import Attributes
from branchtrack.training.attributes.slots import OF_EVERY_DATA_SET, OF_EVERY_OPTIMIZER
from branchtrack.training.ranks import models
from branchtrack.training.settings import apply, dataset_settings
from branchtrack.training.settings.apply import Live
from branchtrack.training.state import snapshots
from branchtrack.training.trainer.protocol import BranchingTrainer, TrainerObjects

#: Parts of TrainerState that are no state of training: what was logged is in the database, and how
#: often and where checkpoints are written, and the number of epochs up to the last update, affect
#: no later update.
NOT_STATE = (
    "log_history",
    "stateful_callbacks",
    "trial_name",
    "trial_params",
    "best_model_checkpoint",
    "save_steps",
    "num_train_epochs",
)

#: Attributes of a Trainer that its own loop, or branchtrack, keeps, restores or recreates.
_STOCK = frozenset(
    """args model model_wrapped optimizer lr_scheduler accelerator state control callback_handler
    train_dataset eval_dataset processing_class data_collator label_names label_smoother
    compute_metrics compute_loss_func current_flos current_gradient_accumulation_steps
    gather_function is_in_train _tr_loss _total_loss_scalar _globalstep_last_logged
    _initial_global_step _initial_num_input_tokens_seen _signature_columns _train_batch_size
    _created_lr_scheduler _mixed_mesh_grads _memory_tracker _trial
    """.split()
)
#: What accelerate's wrapper of an optimizer has of its own.
_OF_EVERY_WRAPPER = frozenset(
    """optimizer scaler accelerator_state gradient_state device_placement _is_overflow
    _accelerate_step_called _optimizer_original_step_method
    _optimizer_patched_step_method""".split()
)


def live_objects(trainer: BranchingTrainer) -> Live:
    """Return what a Trainer trains with; the optimizer without accelerate's wrapper."""
    optimizer = getattr(trainer.optimizer, "optimizer", trainer.optimizer)
    models.unwrapped(trainer.model_wrapped)
    return Live(
        model=trainer.model,
        optimizer=optimizer,
        scheduler=trainer.lr_scheduler,
        options=trainer.args,
        decayed=_decayed(trainer, optimizer),
        fixed=trainer._bt_loop_settings.fixed(),
        values=trainer._bt_values,
        loop=trainer._bt_loop_settings,
        data=None if trainer._bt_position is None else trainer._bt_position.settings,
        attributes=trainer._bt_attributes,
        processor=getattr(trainer, "processing_class", None),
        registry=trainer._bt_registry,
    )


def loop_state(trainer: BranchingTrainer) -> dict[str, Any]:
    """Return the loop's own state: counters, open logging window, callbacks, position, scaler."""
    trainer.store_flos()
    state, scaler = trainer.state, getattr(trainer.accelerator, "scaler", None)
    callbacks: dict[str, list[Any]] = {}
    for callback in _exportable(trainer):
        attributes = callback.state().get("attributes", {})
        callbacks.setdefault(type(callback).__name__, []).append(attributes)
    return {
        "trainer": {
            field.name: _plain(getattr(state, field.name))
            for field in fields(TrainerState)
            if field.name not in NOT_STATE
        },
        "window": {
            "loss": trainer._tr_loss,
            "last_logged": trainer._globalstep_last_logged,
            "total": trainer._total_loss_scalar,
            "first_step": trainer._bt_first_step,
        },
        "callbacks": callbacks,
        "data": trainer._bt_position.state() if trainer._bt_position is not None else {},
        "scaler": None if scaler is None else scaler.state_dict(),
        **({"ended": True} if _has_ended(trainer) else {}),
    }


def attributes_of(trainer: BranchingTrainer, tracked: Mapping[str, Any]) -> Attributes:
    """Return what a Trainer and the script's objects around it keep in attributes."""
    owners = {"trainer": trainer, "args": trainer.args, "state": trainer.state}
    around = {"data_collator": trainer.data_collator, "loss": trainer.compute_loss_func}
    for name, value in around.items():
        holder = _holder(value)
        if not (holder is None or holder is trainer or isinstance(holder, torch.nn.Module)):
            owners[name] = holder
    for callback in trainer.callback_handler.callbacks:
        library = type(callback).__module__.partition(".")[0]
        if library not in ("transformers", "branchtrack"):
            name = base = f"callback.{type(callback).__name__}"
            number = 2
            while name in owners:
                name, number = f"{base}#{number}", number + 1
            owners[name] = callback
    if trainer.optimizer is not None:
        owners["wrapper"], owners["optimizer"] = trainer.optimizer, live_objects(trainer).optimizer
    ignored = {
        "trainer": _STOCK,
        "args": _fields(trainer.args),
        "state": _fields(trainer.state),
        "optimizer": OF_EVERY_OPTIMIZER,
        "wrapper": _OF_EVERY_WRAPPER | OF_EVERY_OPTIMIZER,
        "data": OF_EVERY_DATA_SET | dataset_settings.marks(trainer.train_dataset).keys(),
    }
    rows = trainer.train_dataset
    ahead = {} if any(rows is value for value in tracked.values()) else {"data": rows}
    return Attributes(owners, trainer.model, ignored, tracked, ahead)


def _holder(function: Any) -> Any:
    """Return what keeps a callable's state: itself, a method's object, or what is bound."""
    if isinstance(function, partial):
        return SimpleNamespace(args=list(function.args), **function.keywords)
    return getattr(function, "__self__", function)


def _fields(record: Any) -> frozenset[str]:
    """Return the names of a record that its own class gives it."""
    private = {name for name in vars(record) if name.startswith("_")}
    return frozenset(private | {field.name for field in fields(record)})


def _plain(value: Any) -> Any:
    """Return a counter as a Trainer's own checkpoint has it."""
    return value.item() if isinstance(value, np.generic) else value


def restore_window(trainer: BranchingTrainer, loop: Mapping[str, Any]) -> None:
    """Restore what the loop resets: the open logging window and callbacks' counters."""
    trainer._tr_loss.copy_(loop["window"]["loss"])
    if "total" in loop["window"]:
        trainer._total_loss_scalar = loop["window"]["total"]
        trainer._bt_first_step = loop["window"]["first_step"]
    else:
        # A node of an earlier version: the mean loss is that of this process alone.
        trainer._total_loss_scalar -= trainer._tr_loss.item()
    trainer._globalstep_last_logged = loop["window"]["last_logged"]
    stored = {name: list(states) for name, states in loop["callbacks"].items()}
    for callback in _exportable(trainer):
        states = stored.get(type(callback).__name__)
        for name, value in (states.pop(0) if states else {}).items():
            setattr(callback, name, value)


def write_trainer_state(
    trainer: BranchingTrainer,
    counters: Mapping[str, Any],
    folder: str,
    changed: Mapping[str, Any],
    history: list[dict[str, Any]],
) -> None:
    """Write the one file of a Trainer's own checkpoint that `Trainer.train` itself reads.

    ``counters`` are those of a node, or empty for a training that starts anew; ``changed`` those
    that are to differ; ``history`` is what was logged before.
    """
    exportable: list[Any] = [*_exportable(trainer), trainer.control]
    state: Any = TrainerState(stateful_callbacks=exportable)
    state.compute_steps(trainer.args, counters.get("max_steps") or changed["max_steps"])
    state.train_batch_size = trainer._train_batch_size
    for name, value in {**counters, **changed}.items():
        setattr(state, name, value)
    state.log_history = history
    state.save_to_json(os.path.join(folder, "trainer_state.json"))


def restore_scaler(trainer: TrainerObjects, snapshot: snapshots.Snapshot, mode: str) -> None:
    """Restore the gradient scaler of half precision, if there is one."""
    scaler = getattr(trainer.accelerator, "scaler", None)
    state = snapshots.loop_state(snapshot)["scaler"] if mode == "exact" else None
    if scaler is not None and state is not None:
        scaler.load_state_dict(state)


def evaluate(trainer: TrainerObjects) -> dict[str, Any]:
    """Evaluate without affecting training: no callback, no scheduler, no random number.

    Raises:
        InvalidInput: the trainer has nothing to evaluate on.
    """
    dataset = trainer.eval_dataset
    if dataset is None:
        raise InvalidInput(
            "eval_dataset", None, "a Trainer that has one", what="There is nothing to evaluate on."
        )
    named = {f"eval_{name}": name for name in dataset} if isinstance(dataset, dict) else None
    metrics: dict[str, Any] = {}
    with rng.preserved(), _no_callbacks(trainer):
        for prefix, name in (named or {"eval": None}).items():
            output = trainer.evaluation_loop(
                trainer.get_eval_dataloader(name),
                description="Evaluation",
                prediction_loss_only=True if trainer.compute_metrics is None else None,
                metric_key_prefix=prefix,
            )
            metrics.update(output.metrics)
    return metrics


@contextmanager
def _no_callbacks(trainer: TrainerObjects) -> Iterator[None]:
    handler = trainer.callback_handler
    callbacks, handler.callbacks = handler.callbacks, []
    try:
        yield
    finally:
        handler.callbacks = callbacks


def _exportable(trainer: TrainerObjects) -> list[Any]:
    return [c for c in trainer.callback_handler.callbacks if isinstance(c, ExportableState)]


def _has_ended(trainer: BranchingTrainer) -> bool:
    """Return whether a callback ended training (early stopping); a request may be undone."""
    state, session = trainer.state, trainer._bt_session
    ended = trainer.control.should_training_stop and state.global_step < state.max_steps
    return bool(ended and session is not None and not session.stop_asked)


def _decayed(trainer: BranchingTrainer, optimizer: torch.optim.Optimizer) -> list[bool]:
    groups = optimizer.param_groups
    if any(apply.number(group.get("weight_decay", 0.0)) for group in groups):
        return [bool(apply.number(group.get("weight_decay", 0.0))) for group in groups]
    names = set(trainer.get_decay_parameter_names(trainer.model))
    decayed = {id(p) for name, p in trainer.model.named_parameters() if name in names}
    flags = [any(id(p) in decayed for p in group["params"]) for group in groups]
    return flags if any(flags) else [True] * len(groups)
