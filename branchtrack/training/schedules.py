"""A Trainer's schedule where it was made for another number of updates than are trained.

A *recipe* is what a node keeps of it: ``steps``, the number of updates that the shape was made for,
and ``path``, points (update, place in the shape) between which places are interpolated and behind
the last of which they go on one by one. Updates are counted as the scheduler counts them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Any

from torch.optim.lr_scheduler import LambdaLR

from branchtrack.training import apply
from branchtrack.training.apply import Live

Path = list[list[float]]


def changed(
    before: Mapping[str, Any] | None, old_end: int, new_end: int, at: int, horizon: str | None
) -> dict[str, Any] | None:
    """The recipe for another end of training; None where shape and updates agree.

    ``at``: the update of the resume. ``extend`` goes on from the place in force and spreads what is
    left of the shape over what is left of the training; ``rescale`` makes the shape anew.
    """
    if horizon != "extend":
        return None if before is None or horizon == "rescale" else dict(before)
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


def follow(scheduler: Any, path: Path) -> None:
    """Have a scheduler's shapes be read at the places of a path."""
    if path and isinstance(scheduler, LambdaLR):
        scheduler.lr_lambdas = [_along(shape, path) for shape in scheduler.lr_lambdas]


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
