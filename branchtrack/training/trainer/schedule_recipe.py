"""A Trainer's schedule that was made for another number of updates than are trained.

A *recipe* is what a node keeps of it: ``steps``, the number of updates that the shape was made for,
and ``path``, points (update, position in the shape) between which positions are interpolated and
after the last of which they advance one by one. Updates are counted as the scheduler counts them.
``lr`` is the base rate that the shape was made for, if that is not the script's: some shapes
contain rates, such as the one they end in. ``factor`` is the value at the first point of the path,
as a share of the base rate: the whole shape is scaled down to it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch.optim.lr_scheduler import LambdaLR
from transformers import TrainingArguments

from branchtrack.checkpoints.tensors import decode
from branchtrack.core.builtin_settings import SCHEDULE_FROM
from branchtrack.core.schedules import KIND as KIND
from branchtrack.core.schedules import KWARGS as KWARGS
from branchtrack.errors import InvalidInput
from branchtrack.training.settings.live import Live, number, put

Path = list[list[float]]
#: What makes another shape, and what else makes another schedule from it.
SHAPE = (KIND, KWARGS, "warmup_steps")
ALL = (*SHAPE, "horizon", SCHEDULE_FROM.name)
#: What makes a shape depend on the current base rate.
MADE_FOR_RATE = {KIND, KWARGS, SCHEDULE_FROM.name}


@dataclass(frozen=True)
class Made:
    """A scheduler that was created for a Trainer; ``settings`` are those of its shape."""

    scheduler: Any
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Where:
    """Where a schedule is changed, in updates as the scheduler counts them.

    ``at`` is the update, ``ends`` where training was to end before and is to end now, ``warmup``
    the length of the warm-up from here on, and ``factor`` the current share of the base rate.
    """

    at: int
    ends: tuple[int, int]
    warmup: int
    factor: float


def kwargs_of(args: TrainingArguments) -> dict[str, Any] | None:
    """Return the arguments of the schedule, which are no text once a Trainer's are complete."""
    kwargs = args.lr_scheduler_kwargs
    return None if isinstance(kwargs, str) else kwargs


def revised(
    before: Mapping[str, Any] | None, values: Mapping[str, Any], where: Where
) -> dict[str, Any]:
    """Return the recipe of the schedule after a change of ``values``, without its base rate.

    Raises:
        InvalidInput: a rate of zero cannot be held.
    """
    origin, end = values.get(SCHEDULE_FROM.name), where.ends[1]
    left = end - where.at
    if origin == "restart":
        return {"steps": left, "path": [[where.at, 0]]}
    if origin == "hold":
        if where.factor <= 0:
            raise InvalidInput(
                SCHEDULE_FROM.name,
                origin,
                "start or restart",
                what="The current rate is 0 here: held, it would stay 0.",
            )
        path = [[where.at, where.warmup]]
        return {"steps": where.warmup + left, "path": path, "factor": where.factor}
    reshaped = any(name in values for name in SHAPE)
    if before and (origin == "start" or (reshaped and not _is_from_start(before))):
        before = {"steps": where.ends[0], "path": []}
    if "max_steps" in values:
        return changed(before, *where.ends, where.at, values.get("horizon"))
    return dict(before or {"steps": end, "path": []})


def _is_from_start(recipe: Mapping[str, Any]) -> bool:
    path = recipe["path"]
    return "factor" not in recipe and (not path or path[0][0] == path[0][1])


_SHARED = ("lr", "initial_lr")


def share(groups: Sequence[Mapping[str, Any]]) -> float:
    """Return the largest share of its base rate that a group is about to be trained with."""
    plain = [{n: decode(v, {}) for n, v in group.items() if n in _SHARED} for group in groups]
    group = max(plain, key=lambda group: number(group.get("initial_lr", group["lr"])))
    base = number(group.get("initial_lr", group["lr"]))
    return number(group["lr"]) / base if base else 0.0


def changed(
    before: Mapping[str, Any] | None, old_end: int, new_end: int, at: int, horizon: str | None
) -> dict[str, Any]:
    """Return the recipe for another end of training.

    ``at``: the update of the resume. ``extend`` continues from the current position and spreads the
    rest of the shape over the rest of the training; ``rescale`` makes the shape anew, as does an
    end that changes nothing else.
    """
    if horizon != "extend":
        # Without either, the rates of the schedule do not depend on its length.
        unchanged = before is not None and horizon is None
        return dict(before or {}) if unchanged else {"steps": new_end, "path": []}
    before = before or {"steps": old_end, "path": []}
    factor = {"factor": before["factor"]} if "factor" in before else {}
    path = [point for point in before["path"] if point[0] < at]
    path += [[at, shape_position(before["path"], at)], [new_end, before["steps"]]]
    return {"steps": before["steps"], "path": path, **factor}


def shape_position(path: Path, step: float) -> float:
    """Return the position in the shape at an update."""
    if not path or step < path[0][0]:
        return step
    number = bisect_right(path, step, key=lambda point: point[0])
    (x0, y0) = path[number - 1]
    if number == len(path):
        return y0 + (step - x0)
    (x1, y1) = path[number]
    return y0 + (step - x0) * (y1 - y0) / (x1 - x0)


@contextmanager
def made_for(optimizer: Any, rate: float | None) -> Iterator[None]:
    """Within the block, schedules that are created use ``rate`` as the optimizer's base rate."""
    defaults = optimizer.defaults
    if rate is None or "lr" not in defaults:
        yield
        return
    previous_lr, defaults["lr"] = defaults["lr"], rate
    try:
        yield
    finally:
        defaults["lr"] = previous_lr


def follow(scheduler: Any, recipe: Mapping[str, Any]) -> None:
    """Evaluate a scheduler's shapes at the positions of a recipe's path, scaled by its factor."""
    path = recipe["path"]
    if path and isinstance(scheduler, LambdaLR):
        factor = recipe.get("factor")
        scheduler.lr_lambdas = [_along(shape, path, factor) for shape in scheduler.lr_lambdas]


#: The state of schedules that follow the evaluation, beside the arguments they were created with.
_COME_TO = (
    "best",
    "num_bad_epochs",
    "num_good_epochs",
    "cooldown_counter",
    "warmup_counter",
    "last_epoch",
    "reset_start",
    "_streaming_avg",
    "_last_lr",
    "_init_lrs",
)


def take_arguments(scheduler: Any, fresh_state: Mapping[str, Any]) -> None:
    """Give a restored schedule that follows the evaluation the arguments it was created with.

    ``fresh_state`` is its state as it was created. What it has reached stays; but a best value of
    another mode is dropped.
    """
    if isinstance(scheduler, LambdaLR):
        return
    begins_anew = getattr(scheduler, "mode", None) != fresh_state.get("mode")
    for name, value in fresh_state.items():
        if name not in _COME_TO or (name == "best" and begins_anew):
            setattr(scheduler, name, value)


def take_rates(live: Live, step: int, *, hold: bool = False) -> None:
    """Give every group the rate that the scheduler has for the update after ``step``.

    For a scheduler that is new at this step, or of another shape than before. ``hold``: one that
    has no shape of its own continues from the current rate, not from the base rate.
    """
    scheduler = live.scheduler
    for group in [] if hold else live.groups:
        if isinstance(scheduler, LambdaLR) or group.get("initial_lr") is not None:
            put(group, "lr", number(group["initial_lr"]))
    if isinstance(scheduler, LambdaLR):
        scheduler.last_epoch, scheduler._step_count = step, step + 1
        scheduler.base_lrs = [number(group["initial_lr"]) for group in live.groups]
        for group, shape in zip(live.groups, scheduler.lr_lambdas, strict=True):
            put(group, "lr", number(group["initial_lr"]) * shape(step))
    if hasattr(scheduler, "_last_lr"):
        scheduler._last_lr = [group["lr"] for group in live.groups]


def _along(
    shape: Callable[[Any], float], path: Path, factor: float | None
) -> Callable[[int], float]:
    if factor is None:
        return lambda step: shape(shape_position(path, step))
    first = shape(path[0][1])
    scale = factor / first if first else 0.0
    return lambda step: shape(shape_position(path, step)) * scale
