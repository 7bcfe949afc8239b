"""The schedule of a Trainer and the step at which it ends, during training.

For every change a new scheduler is created, stepped to the current update, and put in the place of
the previous one; what it was created from is kept with it. It knows no session and no request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.optim.lr_scheduler import LambdaLR

from branchtrack.core import overrides
from branchtrack.core.builtin_settings import (
    HORIZON,
    LR_SCHEDULER_KWARGS,
    LR_SCHEDULER_TYPE,
    RECIPE,
    SCHEDULE_FROM,
    WARMUP_STEPS,
    at_once,
)
from branchtrack.core.schedules import write as as_text
from branchtrack.core.settings import Setting
from branchtrack.training.settings import learning_rates, schedule_length
from branchtrack.training.settings.live import Live
from branchtrack.training.trainer import schedule_recipe, script
from branchtrack.training.trainer.protocol import BranchingTrainer
from branchtrack.training.trainer.schedule_recipe import KIND, KWARGS, Made, Where

#: The settings that change a schedule.
_NAMES = (*schedule_recipe.ALL, "max_steps")


def declare(trainer: BranchingTrainer) -> list[Setting]:
    """Return what can be changed of the schedule: nothing if the script created it itself."""
    if made_of(trainer) is None:
        return []
    settings = [LR_SCHEDULER_TYPE, LR_SCHEDULER_KWARGS, WARMUP_STEPS, SCHEDULE_FROM]
    return [
        at_once(setting)
        for setting in [*settings, *([HORIZON] if trainer._bt_bounds is not None else [])]
    ]


def made_of(trainer: BranchingTrainer) -> Mapping[str, Any] | None:
    """Return what the current scheduler was created from; None if not by the Trainer."""
    origin: Made | None = trainer._bt_made
    is_it = origin is not None and origin.scheduler is trainer.lr_scheduler
    return origin.settings if origin is not None and is_it else None


def read(trainer: BranchingTrainer, name: str) -> Any:
    """Return a setting of the current schedule; None if that is no longer the Trainer's."""
    return (made_of(trainer) or {}).get(name)


def note(trainer: BranchingTrainer) -> None:
    """Keep what the Trainer has just created its scheduler from, unless the script did."""
    args = trainer.args
    steps = (
        trainer.state.max_steps if trainer._bt_schedule is None else trainer._bt_schedule["steps"]
    )
    settings = {
        KIND: str(getattr(args.lr_scheduler_type, "value", args.lr_scheduler_type)),
        KWARGS: as_text(schedule_recipe.kwargs_of(args)),
        WARMUP_STEPS.name: args.get_warmup_steps(steps),
    }
    is_own_scheduler = trainer._created_lr_scheduler and trainer.lr_scheduler is not None
    trainer._bt_made = Made(trainer.lr_scheduler, settings) if is_own_scheduler else None


def implied(trainer: BranchingTrainer, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what follows from a change: the arguments of another schedule, and its kind.

    Raises:
        InvalidInput: the arguments do not fit the schedule.
    """
    current = made_of(trainer)
    if current is None or not values.keys() & set(_NAMES):
        return {}
    changes = overrides.check_schedule(current, values, trainer._bt_script)
    if SCHEDULE_FROM.name in values:
        changes.setdefault(KIND, current[KIND])
    return {name: value for name, value in changes.items() if name not in values}


def write(trainer: BranchingTrainer, live: Live, values: Mapping[str, Any]) -> None:
    """Change the schedule and the end of training.

    Raises:
        InvalidInput: the values do not fit each other, the step, or transformers.
    """
    requested = {name: value for name, value in values.items() if name in _NAMES}
    if not requested:
        return
    state, current = trainer.state, made_of(trainer)
    if "max_steps" in requested and state.global_step >= state.max_steps:
        raise overrides.too_late(state.global_step, requested["max_steps"])
    before = {"max_steps": state.max_steps, **(current or {})}
    overrides.check_length(state.global_step, before, requested)
    if current is None:
        schedule_length.check(
            live,
            state.global_step,
            requested["max_steps"],
            each_update=True,
            before=None,
            way="a resume that loads only the weights",
        )
        state.max_steps = requested["max_steps"]
        return
    has_shape = isinstance(trainer.lr_scheduler, LambdaLR)
    recipe = _recipe(trainer, live, {**current, **requested}, requested)
    state.max_steps = requested.get("max_steps", state.max_steps)
    if has_shape or requested.keys() - {"max_steps"}:
        _make(trainer, live, {**current, **requested}, requested, recipe)


def _recipe(
    trainer: BranchingTrainer, live: Live, settings: Mapping[str, Any], requested: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return the recipe of the schedule from here on; None: as the script makes it by itself."""
    state, script_rate = trainer.state, trainer.args.learning_rate
    at = _updates(trainer)
    done = state.global_step - at
    end = requested.get("max_steps", state.max_steps)
    ends = (state.max_steps - done, end - done)
    where = Where(at, ends, settings[WARMUP_STEPS.name], schedule_recipe.share(live.groups))
    revised = schedule_recipe.revised(trainer._bt_schedule, requested, where)
    rate = revised.pop("lr", script_rate)
    if requested.keys() & schedule_recipe.MADE_FOR_RATE:
        rate = learning_rates.read_lr(live)
    if rate != script_rate:
        revised["lr"] = rate
    return None if revised == {"steps": end, "path": []} else revised


def _make(
    trainer: BranchingTrainer,
    live: Live,
    settings: Mapping[str, Any],
    requested: Mapping[str, Any],
    recipe: dict[str, Any] | None,
) -> None:
    """Replace the current scheduler by one created from ``settings``."""
    at, before = _updates(trainer), trainer.lr_scheduler
    shape = {name: settings[name] for name in schedule_recipe.SHAPE}
    script.take(trainer, shape)
    script.check_schedule(trainer, learning_rates.read_lr(live))
    trainer._bt_schedule, trainer.lr_scheduler = recipe, None
    trainer._bt_make_scheduler(trainer.state.max_steps)
    note(trainer)
    scheduler = live.scheduler = trainer.lr_scheduler
    trainer.callback_handler.lr_scheduler = scheduler
    if type(scheduler) is type(before) and not isinstance(scheduler, LambdaLR):
        fresh_state = dict(scheduler.state_dict())
        scheduler.load_state_dict(before.state_dict())
        schedule_recipe.take_arguments(scheduler, fresh_state)
    else:
        schedule_recipe.take_rates(live, at, hold=requested.get(SCHEDULE_FROM.name) == "hold")
    fixed = {name: value for name, value in live.fixed.items() if name != RECIPE}
    live.fixed = fixed | ({} if recipe is None else {RECIPE: recipe})


def _updates(trainer: BranchingTrainer) -> int:
    """Return how many updates the schedule has seen; one that follows the evaluation has none."""
    scheduler = trainer.lr_scheduler
    step: int = trainer.state.global_step
    return scheduler.last_epoch if isinstance(scheduler, LambdaLR) else step
