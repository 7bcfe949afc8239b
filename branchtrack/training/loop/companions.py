"""Objects beside a plain loop's model and optimizer that hold training state without being passed.

A learning rate scheduler that was not passed to `start`, an Accelerator that counts micro-batches,
the Trainer of Lightning that owns the loop: each refers to the optimizer, and is found by that.
This module knows no run, no session and no node.
"""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from branchtrack.checkpoints.tensors import encode
from branchtrack.training.loop.lightning_progress import LightningProgress, followed, late
from branchtrack.training.loop.objects import bare
from branchtrack.training.settings.live import within

logger = logging.getLogger("branchtrack")

#: Libraries that own a loop, or a part of it: module -> the class that refers to the optimizer.
_OWNERS = {
    "accelerate": "Accelerator",
    "lightning.pytorch": "Trainer",
    "pytorch_lightning": "Trainer",
}


class MicroBatches:
    """The number of batches an Accelerator has counted, which decides when it accumulates."""

    def __init__(self, accelerator: Any) -> None:
        self._accelerator = accelerator

    def state_dict(self) -> dict[str, int]:
        """Return the count, which restarts with each pass over the data."""
        return {"step": self._accelerator.step}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Continue with a count."""
        self._accelerator.step = state["step"]


@dataclass
class Companions:
    """The objects found: the ``scheduler`` to use, and ``owners`` whose attributes are state.

    ``untracked`` names objects whose state nodes lack, ``unscheduled`` optimizers without a
    scheduler yet, and ``since`` schedulers created after `start`. ``progress`` is Lightning's, and
    ``late`` are owners after the one that steps.
    """

    scheduler: Any
    owners: dict[str, Any] = field(default_factory=dict)
    untracked: list[str] = field(default_factory=list)
    progress: LightningProgress | None = None
    late: list[str] = field(default_factory=list)
    unscheduled: list[Optimizer] = field(default_factory=list)
    since: list[str] = field(default_factory=list)

    def look_again(self) -> None:
        """Log once if a scheduler was created after `start`: nodes do not have its state."""
        unscheduled, self.unscheduled = self.unscheduled, []
        if any(is_scheduled(optimizer) for optimizer in unscheduled):
            self.since = ["scheduler (made after start)"]
            logger.warning(
                "branchtrack: a scheduler was made after start(), so that nodes lack its state and "
                "no resume is exact. Make it before, and pass it as start(scheduler=...)."
            )

    def not_restored(self, stored: Mapping[str, Any]) -> list[str]:
        """Return what of a node's state cannot be restored exactly; ``stored`` was restored."""
        changed = [
            name for name in self.late if any(path.startswith(f"{name}.") for path in stored)
        ]
        later = [f"{name} (after the callback that calls run.step())" for name in changed]
        return [*self.since, *later, *(self.progress.skipped if self.progress else ())]


def find(optimizer: Any, scheduler: Any, objects: Mapping[str, Any]) -> Companions:
    """Find them for a loop; its author passed ``scheduler`` and the extra ``objects``.

    All objects of the process are scanned once if any of these may be among them.
    """
    optimizer, scheduler = bare(optimizer, "optimizer"), bare(scheduler, "scheduler")
    by_name = optimizer if isinstance(optimizer, dict) else {"": optimizer}
    by_name = {name: value for name, value in by_name.items() if isinstance(value, Optimizer)}
    companions = Companions(scheduler)
    several = isinstance(optimizer, dict)
    if several and isinstance(scheduler, (dict, type(None))):
        lacking = [name for name in by_name if (scheduler or {}).get(name) is None]
    else:
        lacking = list(by_name) if scheduler is None else []
    libraries = _libraries()
    if not (lacking or libraries):
        return companions
    instances = _instances((LRScheduler, *libraries))
    stored_ids = {id(bare(value, "scheduler")) for value in objects.values()}
    adopted = {}
    for name in lacking:
        alone = _scheduler_of(by_name[name], name, instances, stored_ids, companions.untracked)
        if alone is not None:
            adopted[name] = alone
        elif not is_scheduled(by_name[name]):
            companions.unscheduled.append(by_name[name])
    if adopted:
        companions.scheduler = {**(scheduler or {}), **adopted} if several else adopted[""]
    _add_owners(companions, instances, list(by_name.values()))
    return companions


def is_scheduled(optimizer: Any) -> bool:
    """Return whether a scheduler was created for an optimizer, as torch marks it."""
    return hasattr(optimizer.step, "_wrapped_by_lr_sched")


def _libraries() -> list[type]:
    """Return the classes that may own the loop, of libraries that have been imported."""
    classes = [getattr(sys.modules.get(name), kind, None) for name, kind in _OWNERS.items()]
    return [kind for kind in classes if isinstance(kind, type)]


def _instances(kinds: tuple[type, ...]) -> list[Any]:
    """Return every living object of some classes. Types are compared, since proxies imitate."""
    everything = gc.get_objects()
    types = {id(type(value)): type(value) for value in everything}
    matching = {key for key, kind in types.items() if issubclass(kind, kinds)}
    return [value for value in everything if id(type(value)) in matching] if matching else []


def _scheduler_of(
    optimizer: Any, name: str, instances: list[Any], stored_ids: set[int], untracked: list[str]
) -> Any:
    """Return the only scheduler of an optimizer; None if there is none or the choice is unclear."""
    schedulers = [
        value
        for value in instances
        if issubclass(type(value), LRScheduler) and getattr(value, "optimizer", None) is optimizer
    ]
    parts = {id(inner) for value in schedulers for inner in _parts(value)}
    whole = [value for value in schedulers if id(value) not in parts]
    if any(id(value) in stored_ids for value in whole):
        # Its author has it stored, as one of the extra objects.
        return None
    if len(whole) == 1 and _can_store(whole[0]):
        return whole[0]
    if whole:
        of = f"scheduler of the optimizer {name!r}" if name else "scheduler"
        # The garbage collector lists objects in no stable order.
        kinds = ", ".join(sorted(type(value).__name__ for value in whole))
        untracked.append(f"{of} ({kinds})")
        logger.warning(
            "branchtrack: the optimizer has %s that was not passed to start(): %s. Nodes lack "
            "the schedule's state, so that no resume is exact. Pass the one that is stepped as "
            "start(scheduler=...), and others in start(objects={...}).",
            "a scheduler" if len(whole) == 1 else f"{len(whole)} schedulers",
            kinds,
        )
    return None


def _parts(scheduler: Any) -> Iterator[Any]:
    """Yield the schedulers that one consists of, or keeps in an attribute as wrappers do."""
    yield from (inner for inner in within(scheduler) if inner is not scheduler)
    for value in vars(scheduler).values():
        if issubclass(type(value), LRScheduler):
            yield value


def _can_store(scheduler: Any) -> bool:
    try:
        encode(scheduler.state_dict(), "scheduler", {})
    except Exception:
        # An unknown scheduler; it is named instead.
        return False
    return True


def _add_owners(companions: Companions, instances: list[Any], optimizers: list[Any]) -> None:
    """Add the objects of libraries that have one of the optimizers."""
    for value in instances:
        if issubclass(type(value), LRScheduler):
            continue
        held = getattr(value, "_optimizers" if hasattr(value, "_optimizers") else "optimizers", ())
        optimizer_ids = {id(bare(optimizer, "optimizer")) for optimizer in held or ()}
        if optimizer_ids.isdisjoint(map(id, optimizers)):
            continue
        if hasattr(value, "fit_loop"):
            companions.progress = LightningProgress(value)
            companions.owners["lightning"] = SimpleNamespace(progress=companions.progress)
            companions.owners |= followed(value)
            companions.late = late(value)
        else:
            companions.owners["accelerate"] = SimpleNamespace(counted=MicroBatches(value))
