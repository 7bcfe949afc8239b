"""A plain loop that is passed over: it has its final state, and is over before it begins."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from branchtrack.training.loop import beginning, resumption
from branchtrack.training.loop import objects as loop_objects
from branchtrack.training.loop.beginning import Beginning
from branchtrack.training.loop.data import LoopBatches
from branchtrack.training.loop.settings import LoopLimits
from branchtrack.training.record import shards
from branchtrack.training.session.protocol import TrainingSession
from branchtrack.training.session.unrecorded.passed_over import PassedOver
from branchtrack.training.settings.live import Live
from branchtrack.training.state import snapshots


def begin(
    live: Live,
    session: TrainingSession,
    data: Any,
    objects: Mapping[str, Any],
    requested: Mapping[str, Any],
) -> Beginning:
    """Restore the state in which the training had ended to live objects, if there is one.

    Raises:
        LaunchFailed: it does not fit the objects of the script.
    """
    assert isinstance(session, PassedOver)
    base = session.base
    step = 0 if base is None else base.fork.step
    settings = {"max_steps": 0} if base is None else base.fork.settings
    live.loop = limits = LoopLimits(step, settings.get("max_steps"), settings.get("save_steps"))
    batches = None if data is None else LoopBatches(data, torch.initial_seed() % 2**32)
    live.data = None if batches is None else loop_objects.free(batches.settings, live)
    if live.data is not None:
        live.data.shards.connect(partial(session.read, shards.look_up))
    if base is None:
        return Beginning(limits, {}, batches, None)

    def restore() -> dict[str, Any] | None:
        resumption.restore(live, base)
        snapshots.restore_config(live.model, base.snapshot)
        return beginning.restore_state(base, batches, objects, base.script or {})

    now = session.give_back(restore)
    session.restore = restore
    return Beginning(limits, {}, batches, now)
