"""Where a plain loop begins: at the start of a new run, or at the node that it resumes.

The script is compared with the node's, settings that hold from here on are taken from their
sources, and all state is restored. This module knows no run, and of a session only what it resumes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from branchtrack.errors import CheckpointMismatch, InvalidInput
from branchtrack.training import rng
from branchtrack.training.data import division, redraws
from branchtrack.training.data.growth import LENGTH, place_words
from branchtrack.training.loop import data as loop_data
from branchtrack.training.loop import objects as loop_objects
from branchtrack.training.loop import resumption
from branchtrack.training.loop import script as loop_script
from branchtrack.training.loop.data import LoopBatches
from branchtrack.training.loop.settings import LoopLimits
from branchtrack.training.ranks.models import group_rank
from branchtrack.training.record import shards
from branchtrack.training.session.base import Base
from branchtrack.training.session.protocol import TrainingSession
from branchtrack.training.session.ranks import connection as ranks
from branchtrack.training.settings.live import Live
from branchtrack.training.state import snapshots
from branchtrack.training.state.mismatch import accepted, equal, must_match
from branchtrack.training.state.script_record import require_same_script

#: How a loop makes its position in the data known.
READ_HERE = (
    "takes its batches from run.batches(), or from branchtrack.track_loader(loader) where another "
    "library owns the loop"
)


@dataclass(frozen=True)
class Beginning:
    """Where a loop begins, and the settings it has to use.

    ``script`` is what its script requests. ``now`` is the random state to restore where the loop
    continues, after anything the script does until then; None: keep the present one.
    """

    limits: LoopLimits
    script: dict[str, Any]
    batches: LoopBatches | None
    now: dict[str, Any] | None


def begin(
    live: Live,
    session: TrainingSession,
    data: Any,
    objects: Mapping[str, Any],
    requested: Mapping[str, Any],
) -> Beginning:
    """Make live objects ready; ``requested`` are the script's max_steps, save_steps and seed.

    Raises:
        InvalidInput: what was declared is impossible with this script.
        CheckpointMismatch: the script requests something else, or does not fit the node.
    """
    base = session.base
    more = {**requested, **loop_data.describe(data), "objects": sorted(objects)}
    script = loop_script.describe_script(live, more)
    is_exact = base is not None and base.mode == "exact"
    if base is not None and is_exact and base.script is not None:
        names = accepted(base.overrides, script, base.script)
        comparison = loop_script.LoopComparison(
            script, base.script, base.fork.settings, base.overrides
        )
        require_same_script(comparison, names)
    settings = {**requested, **(resumption.base_settings(base) if base is not None else {})}
    ends, save = _last_step(base, requested["max_steps"]), settings["save_steps"]
    if settings["seed"] is not None and not is_exact:
        rng.seed_all(settings["seed"] + group_rank())
    seed = torch.initial_seed() % 2**32 if settings["seed"] is None else settings["seed"]
    size = _take_batch_size(data, settings)
    live.fixed = {} if size is None else {"batch_size": size}
    live.fixed |= {"seed": seed, "scheduler": "node"}
    live.fixed |= ranks.settings()
    live.loop = limits = LoopLimits(base.fork.step if base else 0, ends, save)
    batches = None if data is None else LoopBatches(data, seed)
    live.data = None if batches is None else loop_objects.free(batches.settings, live)
    if live.data is not None:
        live.data.shards.connect(partial(session.read, shards.look_up))
    now = None
    if base is not None:
        resumption.restore(live, base)
        now = restore_state(base, batches, objects, script) if is_exact else None
    return Beginning(limits, script, batches, now)


def loop_state(
    begun: bool, batches: LoopBatches | None, objects: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the loop's own state; ``begun``: captured after the loop began, not at its start."""
    return {
        "begun": begun,
        "data": {} if batches is None else batches.state(),
        "objects": {name: instance.state_dict() for name, instance in objects.items()},
    }


def restore_state(
    base: Base, batches: LoopBatches | None, objects: Mapping[str, Any], script: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Restore what `loop_state` returned; return the random state for where the loop continues.

    ``script`` is what the script requests now.
    """
    stored, now = (
        snapshots.loop_state(base.snapshot),
        snapshots.random_state(base.snapshot, base.seed),
    )
    must_match("the extra objects", sorted(objects), sorted(stored["objects"]))
    for name, instance in objects.items():
        instance.load_state_dict(stored["objects"][name])
    if batches is not None and stored["data"].get("unread"):
        raise _unread()
    if batches is not None and stored["data"]:
        data_state = stored["data"]
        before = base.script or {}
        if any(not equal(script.get(n), before[n]) for n in (LENGTH, "sampler") if n in before):
            data_state = batches.in_changed_data(data_state)
            base.parts["data position"] = place_words(data_state, stored["data"])
        elif base.reshuffles:
            data_state = batches.redrawn_by(data_state, base.reshuffles)
            base.parts.update(redraws.parts(data_state, stored["data"]))
        words = division.words(data_state, batches.divided)
        base.parts.update({"data position": words} if words else {})
        batches.resume(data_state, now, base.seed)
    rng.restore(now)
    return now if stored["begun"] else None


def _unread() -> CheckpointMismatch:
    return CheckpointMismatch(
        "data was given to start() but its batches were taken from elsewhere when the node was "
        "created, so it is unknown which of them came next.",
        safe="No training was done.",
        fix=f"Begin a new run that {READ_HERE}, or load only the weights: --mode weights.",
        field="data",
        expected="batches taken from the run",
        found="none",
    )


def _last_step(base: Base | None, requested: int | None) -> int | None:
    """Return the step at which the loop ends; ``requested`` is the script's."""
    if base is None:
        return requested
    if base.mode != "exact" and requested is not None:
        requested += base.fork.step
    end_step = resumption.base_settings(base).get("max_steps", requested)
    if end_step is not None and end_step <= base.fork.step:
        raise InvalidInput("max_steps", end_step, f"more than the node's step {base.fork.step}")
    return None if end_step is None else int(end_step)


def _take_batch_size(data: Any, settings: Mapping[str, Any]) -> int | None:
    size = loop_data.batch_size(data)
    if size is not None and settings.get("batch_size", size) != size:
        size = int(settings["batch_size"])
        loop_data.give_batch_size(data, size)
    return size
