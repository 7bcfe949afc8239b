"""Settings of a Trainer's loop during training: its end, its accumulation, how often it logs,
evaluates and saves, and how labels are smoothed; `schedule` has those of its schedule.

Each is written where the loop reads it, and read from there. It knows no session and no request.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

import torch
from transformers.trainer_pt_utils import LabelSmoother
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from branchtrack.core.builtin_settings import (
    ACCUMULATION,
    EVAL_STEPS,
    LABEL_SMOOTHING,
    LOGGING_STEPS,
    MAX_STEPS,
    RECIPE,
    SAVE_STEPS,
    at_once,
)
from branchtrack.core.settings import Setting
from branchtrack.errors import InvalidInput
from branchtrack.training.session.ranks import connection as ranks
from branchtrack.training.settings import apply
from branchtrack.training.settings.live import Live
from branchtrack.training.trainer import schedule, schedule_recipe
from branchtrack.training.trainer.protocol import BranchingTrainer

#: What is changed of a Trainer's arguments and its state.
_ARGUMENTS = (
    *schedule_recipe.SHAPE,
    ACCUMULATION.name,
    LOGGING_STEPS.name,
    EVAL_STEPS.name,
    SAVE_STEPS.name,
    "metric_for_best_model",
    "greater_is_better",
)
_OWN = (
    "lr_scheduler",
    "_created_lr_scheduler",
    "_bt_schedule",
    "_bt_made",
    "label_smoother",
)
#: How often the loop does something, and the argument that says whether it counts updates.
_CADENCES = {
    LOGGING_STEPS.name: (LOGGING_STEPS, "logging_strategy", IntervalStrategy.STEPS),
    EVAL_STEPS.name: (EVAL_STEPS, "eval_strategy", IntervalStrategy.STEPS),
    SAVE_STEPS.name: (SAVE_STEPS, "save_strategy", SaveStrategy.STEPS),
}
_STATE = (MAX_STEPS.name, *_CADENCES)


class Counted(LabelSmoother):
    """A label smoother that counts how often it computed a training loss."""

    uses = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.uses += torch.is_grad_enabled()
        # transformers' method has no types.
        return super().__call__(*args, **kwargs)  # type: ignore[no-untyped-call]


class TrainerSettings:
    """The `live.LoopSettings` of a Trainer."""

    def __init__(self, trainer: BranchingTrainer) -> None:
        self._trainer = trainer

    @property
    def declared(self) -> dict[str, Setting]:
        """Return what this Trainer's loop can change while it runs, by name."""
        trainer = self._trainer
        settings = schedule.declare(trainer)
        if trainer._bt_bounds is not None:
            settings.append(at_once(MAX_STEPS))
            if trainer.args.train_sampling_strategy != "batch_rebalance":
                settings.append(at_once(ACCUMULATION))
        for setting, strategy, by_steps in _CADENCES.values():
            if getattr(trainer.args, strategy) == by_steps:
                settings.append(at_once(setting))
        if _can_smooth(trainer):
            settings.append(LABEL_SMOOTHING)
        return {setting.name: setting for setting in settings}

    def fixed(self) -> dict[str, Any]:
        """Return the settings of the loop that cannot be changed while it runs."""
        trainer = self._trainer
        values = {"batch_size": trainer._train_batch_size, "seed": trainer.args.seed}
        values |= ranks.settings()
        declared = self.declared
        values |= {
            n: self.read(n) for n in (MAX_STEPS.name, ACCUMULATION.name) if n not in declared
        }
        return values | ({} if trainer._bt_schedule is None else {RECIPE: trainer._bt_schedule})

    def read(self, name: str) -> Any:
        """Return a setting's value, from where the loop reads it."""
        trainer = self._trainer
        if name == LABEL_SMOOTHING.name:
            return 0.0 if trainer.label_smoother is None else float(trainer.label_smoother.epsilon)
        if name == ACCUMULATION.name:
            return trainer.args.gradient_accumulation_steps
        if name in _STATE:
            return int(getattr(trainer.state, name))
        return schedule.read(trainer, name)

    def used(self) -> dict[str, Any]:
        """Return what the last update read of the settings that the loss reads for itself."""
        trainer = self._trainer
        values = {name: trainer._bt_values.read.get(name) for name in trainer._bt_values}
        smoother = trainer.label_smoother
        if smoother is not None and not getattr(smoother, "uses", 0):
            values[LABEL_SMOOTHING.name] = None
        return values

    def begin_update(self) -> None:
        """Discard earlier readings: they do not apply to the update that begins."""
        trainer = self._trainer
        trainer._bt_values.take_read()
        smoother = trainer.label_smoother
        if isinstance(smoother, Counted):
            smoother.uses = 0
        elif type(smoother) is LabelSmoother:
            trainer.label_smoother = Counted(
                **{field.name: getattr(smoother, field.name) for field in fields(smoother)}
            )

    def implied(self, live: Live, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return what follows from a change: another schedule has other arguments."""
        return schedule.implied(self._trainer, values)

    def write(self, live: Live, values: Mapping[str, Any]) -> None:
        """Change settings of the loop together.

        Raises:
            InvalidInput: they do not fit each other or this Trainer.
        """
        trainer, declared = self._trainer, self.declared
        for name, value in values.items():
            if name not in declared:
                raise InvalidInput(
                    name,
                    value,
                    ", ".join(declared),
                    what=f"{name} cannot be changed while this Trainer trains.",
                )
        schedule.write(trainer, live, values)
        for name, value in values.items():
            if name in _CADENCES:
                setattr(trainer.state, name, value)
                setattr(trainer.args, name, value)
        self._check_cadences(values)
        if ACCUMULATION.name in values:
            self._accumulate(values[ACCUMULATION.name])
        if LABEL_SMOOTHING.name in values:
            factor = values[LABEL_SMOOTHING.name]
            trainer.label_smoother = Counted(epsilon=factor) if factor else None

    def kept(self, live: Live) -> Callable[[], None]:
        """Keep what `write` touches of the Trainer; calling the result restores it."""
        trainer = self._trainer
        held: list[tuple[Any, str, Any]]
        held = [(trainer.args, name, getattr(trainer.args, name)) for name in _ARGUMENTS]
        held += [(trainer.state, name, getattr(trainer.state, name)) for name in _STATE]
        held += [(trainer, name, getattr(trainer, name)) for name in _OWN]
        held += [(live, name, getattr(live, name)) for name in ("scheduler", "fixed")]
        tracked = None if trainer._bt_position is None else trainer._bt_position.tracked
        size = None if tracked is None else tracked.sample_order.next_size

        def put_back() -> None:
            for owner, name, value in held:
                setattr(owner, name, value)
            trainer.callback_handler.lr_scheduler = trainer.lr_scheduler
            if tracked is not None:
                tracked.sample_order.next_size = size

        return put_back

    def _check_cadences(self, values: Mapping[str, Any]) -> None:
        trainer, declared = self._trainer, self.declared
        names = ("eval_steps", "save_steps")
        requested = [name for name in names if name in values]
        by_steps = all(name in declared for name in names)
        if requested and by_steps and trainer.args.load_best_model_at_end:
            if trainer.state.save_steps % trainer.state.eval_steps:
                raise InvalidInput(
                    requested[0],
                    values[requested[0]],
                    "a save_steps that is a multiple of eval_steps",
                    what="With load_best_model_at_end the Trainer saves where it evaluates.",
                )

    def _accumulate(self, count: int) -> None:
        """Make updates of ``count`` batches; a sampler that sorts neighbours by length does so for
        one update at a time, from the next epoch on.
        """
        trainer = self._trainer
        args = trainer.args
        before, args.gradient_accumulation_steps = args.gradient_accumulation_steps, count
        tracked = None if trainer._bt_position is None else trainer._bt_position.tracked
        if tracked is not None:
            tracked.sample_order.resize(
                args.train_batch_size * before, args.train_batch_size * count
            )


def _can_smooth(trainer: BranchingTrainer) -> bool:
    """Return whether the Trainer's loss would smooth labels, removing them from model inputs."""
    problem = getattr(getattr(trainer.model, "config", None), "problem_type", None)
    labels = inspect.signature(trainer.model.forward).parameters.get("labels")
    needs_labels = labels is not None and labels.default is inspect.Parameter.empty
    return problem != "multi_label_classification" and not needs_labels


def check_names(live: Live) -> None:
    """Check that no value that the script declared has the name of another setting.

    Raises:
        InvalidInput: one has.
    """
    taken = {setting.name for setting in apply.declare(replace(live, values=None))}
    for name in live.values or ():
        if name in taken:
            raise InvalidInput(
                "settings",
                name,
                "another name",
                what=f"{name} is a setting already, of the Trainer, its optimizer or its model.",
            )
