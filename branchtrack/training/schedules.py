"""A Trainer's schedule where it was made for another number of updates than are trained.

A *recipe* is what a node keeps of it: ``steps``, the number of updates that the shape was made for,
and ``path``, points (update, place in the shape) between which places are interpolated and behind
the last of which they go on one by one. Updates are counted as the scheduler counts them. ``lr`` is
the base rate that the shape was made for, where that is another than the script's: some shapes have
rates in them, such as the one they end in.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch.optim.lr_scheduler import LambdaLR

from branchtrack.core.schedules import KIND as KIND
from branchtrack.core.schedules import KWARGS as KWARGS
from branchtrack.training import apply
from branchtrack.training.apply import Live

Path = list[list[float]]


def changed(
    before: Mapping[str, Any] | None, old_end: int, new_end: int, at: int, horizon: str | None
) -> dict[str, Any]:
    """The recipe for another end of training.

    ``at``: the update of the resume. ``extend`` goes on from the place in force and spreads what is
    left of the shape over what is left of the training; ``rescale`` makes the shape anew, as does
    an end that changes nothing else.
    """
    if horizon != "extend":
        # Without either, the rates of the schedule do not depend on its length.
        kept = before is not None and horizon is None
        return dict(before or {}) if kept else {"steps": new_end, "path": []}
    before = before or {"steps": old_end, "path": []}
    path = [point for point in before["path"] if point[0] < at]
    path += [[at, place(before["path"], at)], [new_end, before["steps"]]]
    return {"steps": before["steps"], "path": path}


def place(path: Path, step: float) -> float:
    """The place in the shape at an update."""
    if not path or step <= path[0][0]:
        return step
    number = bisect_right(path, step, key=lambda point: point[0])
    (x0, y0) = path[number - 1]
    if number == len(path):
        return y0 + (step - x0)
    (x1, y1) = path[number]
    return y0 + (step - x0) * (y1 - y0) / (x1 - x0)


@contextmanager
def made_for(optimizer: Any, rate: float | None) -> Iterator[None]:
    """Within the block a schedule that is made takes ``rate`` for the optimizer's base rate."""
    defaults = optimizer.defaults
    if rate is None or "lr" not in defaults:
        yield
        return
    kept, defaults["lr"] = defaults["lr"], rate
    try:
        yield
    finally:
        defaults["lr"] = kept


def follow(scheduler: Any, path: Path) -> None:
    """Have a scheduler's shapes be read at the places of a path."""
    if path and isinstance(scheduler, LambdaLR):
        scheduler.lr_lambdas = [_along(shape, path) for shape in scheduler.lr_lambdas]


#: What schedules that follow the evaluation have come to, beside the arguments they were given.
_COME_TO = (
    "best", "num_bad_epochs", "num_good_epochs", "cooldown_counter", "warmup_counter",
    "last_epoch", "reset_start", "_streaming_avg", "_last_lr", "_init_lrs",
)  # fmt: skip


def take_arguments(scheduler: Any, made: Mapping[str, Any]) -> None:
    """Give a restored schedule that follows the evaluation the arguments that it was made with.

    ``made`` is its state as it was made. What it has come to stays; but a best value of another
    mode is none.
    """
    if isinstance(scheduler, LambdaLR):
        return
    begins_anew = getattr(scheduler, "mode", None) != made.get("mode")
    for name, value in made.items():
        if name not in _COME_TO or (name == "best" and begins_anew):
            setattr(scheduler, name, value)


def take_rates(live: Live, step: int) -> None:
    """Give every group the rate that the scheduler has for the update behind ``step``.

    For a scheduler that is new at this step, or of another shape than before.
    """
    scheduler = live.scheduler
    for group in live.groups:
        if isinstance(scheduler, LambdaLR) or group.get("initial_lr") is not None:
            apply.put(group, "lr", apply.number(group["initial_lr"]))
    if isinstance(scheduler, LambdaLR):
        scheduler.last_epoch, scheduler._step_count = step, step + 1
        scheduler.base_lrs = [apply.number(group["initial_lr"]) for group in live.groups]
        for group, shape in zip(live.groups, scheduler.lr_lambdas, strict=True):
            apply.put(group, "lr", apply.number(group["initial_lr"]) * shape(step))
    if hasattr(scheduler, "_last_lr"):
        scheduler._last_lr = [group["lr"] for group in live.groups]


def _along(shape: Callable[[Any], float], path: Path) -> Callable[[int], float]:
    return lambda step: shape(place(path, step))
