"""A node restored to a plain loop: its state, then the settings that were declared to change.

Nothing of the script silently replaces the node's, and nothing of the node replaces what was
declared. It knows no run, only its live objects.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from branchtrack.core.builtin_settings import SCHEDULE_HELD, SCHEDULER
from branchtrack.errors import InvalidInput
from branchtrack.training.session.base import Base
from branchtrack.training.settings import apply, schedule_length
from branchtrack.training.settings.live import Live, number, put
from branchtrack.training.settings.momenta import is_cycled
from branchtrack.training.state import snapshots, weights

#: What a schedule has set in the groups by the time it is created.
_OF_SCHEDULES = (
    "lr",
    "initial_lr",
    "max_lr",
    "min_lr",
    "momentum",
    "betas",
    "max_momentum",
    "base_momentum",
)
#: Settings that the script's own schedule determines, where that replaces the node's.
_OF_SCRIPTS = ("momentum", "betas", SCHEDULE_HELD.name)


def base_settings(base: Base) -> Mapping[str, Any]:
    """Return the settings that the loop continues with, as far as the script does not set them."""
    return base.fork.settings if base.mode == "exact" else base.overrides


def restore(live: Live, base: Base) -> None:
    """Restore models, optimizers, schedulers and gradients, then apply what was changed.

    Raises:
        CheckpointMismatch: they do not fit the node.
        InvalidInput: what was declared is impossible with this script.
    """
    if base.mode == "weights":
        base.parts.update(
            weights.take(live.model, snapshots.fit(live.model, base.snapshot), base.overrides)
        )
    elif base.overrides.get(SCHEDULER.name) == "script":
        _restore_for(live, base)
    else:
        snapshots.restore(live, base.snapshot)
    if base.mode == "exact":
        _check_length(live, base)
        snapshots.restore_gradients(live, base.snapshot)
    current = apply.read_all(live)
    target = {name: base_settings(base).get(name, value) for name, value in current.items()}
    if base.overrides.get(SCHEDULER.name) == "script":
        target = _of_cycles(live, current, target, base.overrides)
    target = apply.normalize(live, target)
    apply.write_all(live, {name: v for name, v in target.items() if current[name] != v})


def expected(live: Live, base: Base, requested: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the first update must use: momentum that the script's own schedule cycles has the
    schedule's value, whatever it was in the node.
    """
    if base.overrides.get(SCHEDULER.name) != "script":
        return dict(requested)
    current = apply.read_all(live)
    cycled = {
        name: current[name]
        for name in requested
        if name.rpartition(".")[2] in _OF_SCRIPTS and name not in base.overrides
    }
    return {**requested, **cycled}


def _restore_for(live: Live, base: Base) -> None:
    """Restore all but the schedule; the script's own is stepped to where it would have been."""
    fresh_groups = [
        {name: group[name] for name in _OF_SCHEDULES if name in group} for group in live.groups
    ]
    fresh_groups = [{name: _copy(value) for name, value in group.items()} for group in fresh_groups]
    state = {**base.snapshot.state, "scheduler": None}
    snapshots.restore(replace(live, scheduler=None), replace(base.snapshot, state=state))
    stored = base.snapshot.state["scheduler"] or {}
    places = iter(zip(live.groups, fresh_groups, strict=True))
    for name, optimizer_objects in live.parts.items():
        scheduler_state = stored.get("several", {name: stored}).get(name) or {}
        for _ in optimizer_objects.groups:
            _give(*next(places))
        _advance(optimizer_objects, _updates(scheduler_state.get("state", {}), base.fork.step))


def _check_length(live: Live, base: Base) -> None:
    if "max_steps" in base.overrides:
        schedule_length.check(
            live,
            base.fork.step,
            base.overrides["max_steps"],
            each_update=False,
            before=base.origin.settings.get("max_steps"),
            way=schedule_length.way_of_loops(base.overrides.get(SCHEDULER.name)),
        )


def _of_cycles(
    live: Live, current: Mapping[str, Any], target: Mapping[str, Any], declared: Mapping[str, Any]
) -> dict[str, Any]:
    """Return settings in which momentum that the script's own schedule cycles keeps that schedule's
    value, and the schedule is not held even if another was.
    """
    settings = dict(target)
    for name in settings:
        if name.rpartition(".")[2] == SCHEDULE_HELD.name and name not in declared:
            settings[name] = current[name]
    for prefix, optimizer_objects in live.parts.items():
        for option in ("momentum", "betas") if is_cycled(optimizer_objects) else ():
            name = f"{prefix}.{option}" if prefix else option
            if name in settings and name not in declared:
                settings[name] = (
                    [current[name][0], settings[name][1]] if option == "betas" else current[name]
                )
    return settings


def _give(group: dict[str, Any], fresh_group: Mapping[str, Any]) -> None:
    """Set a group's rates as its script has made them, and what else its schedule sets."""
    names = [name for name in _OF_SCHEDULES if name not in ("momentum", "betas")]
    if "max_momentum" in fresh_group or "max_momentum" in group:
        names += ["momentum", "betas"]
    for name in names:
        if name not in fresh_group:
            group.pop(name, None)
        elif isinstance(group.get(name), torch.Tensor):
            put(group, name, number(fresh_group[name]))
        else:
            group[name] = fresh_group[name]


def _advance(optimizer_objects: Live, updates: int) -> None:
    """Step a new scheduler to where it is after a number of steps."""
    if optimizer_objects.scheduler is None or isinstance(
        optimizer_objects.scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau
    ):
        # What a plateau has seen cannot be recovered: it begins here.
        return
    step: Callable[[], None] = optimizer_objects.scheduler.step
    with warnings.catch_warnings():
        # It warns that no update was made before; they were made before the node.
        warnings.simplefilter("ignore")
        try:
            for _ in range(updates):
                step()
        except ValueError as error:
            raise InvalidInput(
                SCHEDULER.name,
                "script",
                f"a schedule that reaches to step {updates}",
                what=f"The script's schedule cannot be brought to step {updates}: {error}",
            ) from error


def _updates(state: Mapping[str, Any], otherwise: int) -> int:
    """Return how often the node's scheduler was stepped, according to itself."""
    last_epoch = state.get("last_epoch")
    if last_epoch is None and state.get("_schedulers"):
        return _updates(state["_schedulers"][0], otherwise)
    return last_epoch if isinstance(last_epoch, int) else otherwise


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value
