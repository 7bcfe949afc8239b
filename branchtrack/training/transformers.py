"""The Hugging Face Trainer mixin: the same Trainer, whose checkpoints and changes become nodes.

Its place in the loop of transformers 5 (`Trainer._run_epoch`):

    for each update:
        on_step_begin, forward, backward, (clip)
        on_pre_optimizer_step              <- read back what this update uses, if that is due
        optimizer.step(), scheduler.step()
        on_step_end                        <- one flag test; asks for a save if requests wait
        log, evaluate
        _save_checkpoint                   <- CONTROL POINT: apply, capture, commit
    on_train_end

No loop is copied: callbacks, public methods and the overrides named in `_save_checkpoint` and
`_load_*`, each of which falls back to ``super()`` where branchtrack has no part.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any

import torch
from transformers import Trainer, TrainerCallback
from transformers.trainer_callback import ExportableState, TrainerState
from transformers.trainer_utils import SaveStrategy

from branchtrack.errors import CheckpointMismatch, InvalidInput
from branchtrack.training import apply, capture, rng
from branchtrack.training.apply import Live
from branchtrack.training.session import Point, Session

#: Parts of TrainerState that are no state of training: what was logged is in the database.
_NOT_STATE = ("log_history", "stateful_callbacks", "trial_name", "trial_params")


@cache
def make_branching(trainer_class: type[Trainer]) -> type[Any]:
    """A subclass of a Trainer class, used exactly as it, whose runs are trees.

    Raises:
        InvalidInput: not a subclass of transformers' Trainer.
    """
    if not (isinstance(trainer_class, type) and issubclass(trainer_class, Trainer)):
        raise InvalidInput("trainer_class", trainer_class, "transformers.Trainer or a subclass")
    if issubclass(trainer_class, BranchTrackMixin):
        return trainer_class
    return type(f"Branching{trainer_class.__name__}", (BranchTrackMixin, trainer_class), {})


class BranchTrackMixin:
    """Mixed in before a Trainer class by `make_branching`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._session: Session | None = None
        self._asked_only = False
        self.add_callback(_Events(self))  # type: ignore[attr-defined]

    def train(self, resume_from_checkpoint: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As `Trainer.train`, recorded as a run or, in a launched process, as its branch."""
        _refuse_distributed(self)
        session = self._session = Session.open(_run_name(self))
        try:
            with tempfile.TemporaryDirectory(prefix="branchtrack-") as folder:
                if session.base is not None:
                    _write_trainer_state(self, session.base.snapshot, folder)
                    resume_from_checkpoint = folder
                output = super().train(resume_from_checkpoint, *args, **kwargs)  # type: ignore[misc]
        except KeyboardInterrupt:
            session.close("stopped", "Interrupted from the keyboard.")
            raise
        except BaseException as error:
            session.close("failed", f"{type(error).__name__}: {error}")
            raise
        finally:
            self._session = None
        session.close("stopped" if session.stop_asked else "finished")
        return output

    def _save_checkpoint(self, model: Any, trial: Any, *args: Any, **kwargs: Any) -> None:
        session = self._session
        if session is None or session.recorder is None:
            super()._save_checkpoint(model, trial, *args, **kwargs)  # type: ignore[misc]
            return
        trainer: Any = self
        due = not self._asked_only or trainer.args.save_strategy == SaveStrategy.BEST
        final = trainer.control.should_training_stop
        session.control_point(_point(trainer), save=due, final=final)
        if session.stop_asked:
            trainer.control.should_training_stop = True
        if trainer.args.load_best_model_at_end or trainer.args.push_to_hub:
            super()._save_checkpoint(model, trial, *args, **kwargs)  # type: ignore[misc]

    def _load_from_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        # The whole state of a node is loaded at once, below, when there is an optimizer for it.
        if _base(self) is None:
            super()._load_from_checkpoint(*args, **kwargs)  # type: ignore[misc]

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        base = _base(self)
        if base is None:
            super()._load_optimizer_and_scheduler(checkpoint)  # type: ignore[misc]
            return
        live = live_objects(self)
        loop = capture.restore(live, base.snapshot)
        _check_data(self, loop["data"])
        current = apply.read_all(live)
        target = {name: base.fork.settings.get(name, value) for name, value in current.items()}
        apply.write_all(live, {k: v for k, v in target.items() if current[k] != v})

    def _load_rng_state(self, checkpoint: str | None) -> None:
        base = _base(self)
        if base is None:
            super()._load_rng_state(checkpoint)  # type: ignore[misc]
        else:
            capture.restore_rng(base.snapshot)

    def _load_scaler(self, checkpoint: str | None) -> None:
        base = _base(self)
        if base is None:
            super()._load_scaler(checkpoint)  # type: ignore[misc]
            return
        scaler = getattr(self.accelerator, "scaler", None)  # type: ignore[attr-defined]
        state = capture.loop_state(base.snapshot)["scaler"]
        if scaler is not None and state is not None:
            scaler.load_state_dict(state)


class _Events(TrainerCallback):
    """The callback that the mixin installs behind all others."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer

    @property
    def session(self) -> Session | None:
        """The session of the training that is going on."""
        found: Session | None = self.trainer._session
        return found

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        session = self.session
        if session is None:
            return
        if session.base is not None:
            _restore_window(self.trainer, capture.loop_state(session.base.snapshot))
        session.begin(_point(self.trainer), state.max_steps, _about(self.trainer.model))

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        session = self.session
        if session is not None and session.expecting is not None:
            session.before_update(live_objects(self.trainer), state.global_step + 1)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        session = self.session
        if session is None or session.recorder is None:
            return
        session.recorder.step = state.global_step
        # A save that only requests have caused commits no checkpoint of its own.
        self.trainer._asked_only = session.recorder.waiting and not control.should_save
        if session.recorder.waiting or control.should_training_stop:
            control.should_save = True

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # A callback such as early stopping may have ended training just now.
        if self.session is not None and control.should_training_stop:
            control.should_save = True

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if self.session is not None and logs:
            self.session.log(state.global_step, logs)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        session = self.session
        if session is not None and session.recorder is not None:
            session.control_point(_point(self.trainer), save=False, final=True)


def live_objects(trainer: Any) -> Live:
    """What a Trainer trains with; the optimizer without accelerate's wrapper."""
    optimizer = getattr(trainer.optimizer, "optimizer", trainer.optimizer)
    return Live(
        model=trainer.model,
        optimizer=optimizer,
        scheduler=trainer.lr_scheduler,
        options=trainer.args,
        decayed=_decayed(trainer, optimizer),
        fixed=_fixed_settings(trainer),
    )


def loop_extra(trainer: Any) -> dict[str, Any]:
    """The loop's own state: counters, open logging window, callbacks, position, scaler."""
    trainer.store_flos()
    state, scaler = trainer.state, getattr(trainer.accelerator, "scaler", None)
    return {
        "trainer": {
            field.name: getattr(state, field.name)
            for field in fields(TrainerState)
            if field.name not in _NOT_STATE
        },
        "window": {
            "loss": trainer._tr_loss,
            "last_logged": trainer._globalstep_last_logged,
        },
        "callbacks": {
            type(callback).__name__: callback.state().get("attributes", {})
            for callback in trainer.callback_handler.callbacks
            if isinstance(callback, ExportableState)
        },
        "data": _data(trainer),
        "scaler": None if scaler is None else scaler.state_dict(),
    }


def _point(trainer: Any) -> Point:
    return Point(
        live=live_objects(trainer),
        step=trainer.state.global_step,
        epoch=float(trainer.state.epoch or 0.0),
        extra=lambda: loop_extra(trainer),
        evaluate=lambda: _evaluate(trainer),
    )


def _base(trainer: Any) -> Any:
    session = getattr(trainer, "_session", None)
    return None if session is None else session.base


def _run_name(trainer: Any) -> str | None:
    name, folder = trainer.args.run_name, trainer.args.output_dir
    return name if name and name != folder else None


def _evaluate(trainer: Any) -> dict[str, float]:
    """Evaluate without a trace in training: no callback, no scheduler, no random number."""
    if trainer.eval_dataset is None:
        raise InvalidInput("evaluate", None, "a Trainer with an eval_dataset")
    with rng.preserved():
        output = trainer.evaluation_loop(
            trainer.get_eval_dataloader(),
            description="Evaluation",
            prediction_loss_only=True if trainer.compute_metrics is None else None,
        )
    return {name: float(value) for name, value in output.metrics.items()}


def _restore_window(trainer: Any, loop: Mapping[str, Any]) -> None:
    """Bring back what the loop starts anew: the open logging window and callbacks' counters."""
    trainer._tr_loss.copy_(loop["window"]["loss"])
    trainer._globalstep_last_logged = loop["window"]["last_logged"]
    for callback in trainer.callback_handler.callbacks:
        attributes = loop["callbacks"].get(type(callback).__name__, {})
        for name, value in attributes.items():
            setattr(callback, name, value)


def _write_trainer_state(trainer: Any, snapshot: capture.Snapshot, folder: str) -> None:
    callbacks = [*trainer.callback_handler.callbacks, trainer.control]
    exportable: list[Any] = [c for c in callbacks if isinstance(c, ExportableState)]
    state = TrainerState(
        stateful_callbacks=exportable,
        **capture.loop_state(snapshot)["trainer"],
    )
    state.save_to_json(os.path.join(folder, "trainer_state.json"))


def _data(trainer: Any) -> dict[str, Any]:
    args, dataset = trainer.args, trainer.train_dataset
    batch = trainer._train_batch_size * args.gradient_accumulation_steps
    return {
        "samples_seen": trainer.state.global_step * batch,
        "dataset_length": len(dataset) if hasattr(dataset, "__len__") else None,
        "batch_size": trainer._train_batch_size,
        "gradient_accumulation_steps": args.gradient_accumulation_steps,
        "seed": args.seed,
        "data_seed": args.data_seed,
    }


def _check_data(trainer: Any, theirs: Mapping[str, Any]) -> None:
    """Refuse a script whose batches would not be those that follow the node."""
    for name, mine in _data(trainer).items():
        if name != "samples_seen" and mine != theirs[name]:
            raise CheckpointMismatch(
                f"{name} is {mine!r} in the script and {theirs[name]!r} in the node.",
                safe="No training was done.",
                fix="Make the script agree with the node, or start a new run.",
                field=name,
                expected=theirs[name],
                found=mine,
            )


def _decayed(trainer: Any, optimizer: torch.optim.Optimizer) -> list[bool]:
    groups = optimizer.param_groups
    if any(apply.number(group.get("weight_decay", 0.0)) for group in groups):
        return [bool(apply.number(group.get("weight_decay", 0.0))) for group in groups]
    names = set(trainer.get_decay_parameter_names(trainer.model))
    decayed = {id(p) for name, p in trainer.model.named_parameters() if name in names}
    found = [any(id(p) in decayed for p in group["params"]) for group in groups]
    return found if any(found) else [True] * len(groups)


def _fixed_settings(trainer: Any) -> dict[str, Any]:
    """The script's settings that cannot be changed while it trains, for nodes to record."""
    args = trainer.args
    return {
        "max_steps": trainer.state.max_steps,
        "lr_scheduler_type": str(getattr(args.lr_scheduler_type, "value", args.lr_scheduler_type)),
        "warmup_steps": args.get_warmup_steps(trainer.state.max_steps),
        "batch_size": trainer._train_batch_size,
        "gradient_accumulation_steps": args.gradient_accumulation_steps,
        "seed": args.seed,
    }


def _about(model: torch.nn.Module) -> str:
    count = sum(parameter.numel() for parameter in model.parameters())
    return f"{type(model).__name__}, {count:,} parameters"


def _refuse_distributed(trainer: Any) -> None:
    if trainer.args.world_size > 1:
        raise InvalidInput(
            "WORLD_SIZE",
            trainer.args.world_size,
            "1: random state and data position are per process, which is not supported yet",
        )
