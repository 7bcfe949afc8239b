"""Schedules that end: how far they reach, and whether that covers the planned training.

OneCycleLR cannot be stepped beyond its length and would end a training that continues. This module
knows no script and no session.
"""

from __future__ import annotations

import math
from typing import Any

from branchtrack.core.builtin_settings import SCHEDULER
from branchtrack.errors import InvalidInput
from branchtrack.training.settings.live import Live


def check(
    live: Live, step: int, max_steps: int, *, before: int | None, each_update: bool, way: str
) -> None:
    """Refuse a ``max_steps`` that restored schedules do not reach from ``step`` on.

    ``before`` is the node's own ``max_steps``. Unless schedulers are stepped at ``each_update``
    they are assumed to continue at their past pace. ``way`` is the way out.

    Raises:
        InvalidInput: the schedule ends earlier.
    """
    for optimizer_objects in live.parts.values():
        last = reach(optimizer_objects.scheduler)
        if last is None:
            continue
        now = position(optimizer_objects.scheduler)
        if each_update:
            most = step + last - now
        elif step == 0:
            # Its pace is still unknown, except that it was long enough before.
            most = max(last, before or 0)
        else:
            most = last * step // now if now else max_steps
        if max_steps > most:
            raise InvalidInput(
                "max_steps",
                max_steps,
                f"at most {most}, or {way}",
                what=f"The restored schedule is {last} steps long and ends at step {most} of "
                f"training, before max_steps {max_steps}: it cannot be stepped any further.",
            )


def reach(scheduler: Any) -> int | None:
    """Return the step beyond which a scheduler cannot be stepped; None if there is none."""
    parts = getattr(scheduler, "_schedulers", None)
    if parts is None:
        total = getattr(scheduler, "total_steps", None)
        return total if isinstance(total, int) else None
    # One after another, each restarts at its milestone; or all at once.
    milestones = getattr(scheduler, "_milestones", None)
    begins = [0, *milestones] if milestones is not None else [0] * len(parts)
    ends = [*milestones, math.inf] if milestones is not None else [math.inf] * len(parts)
    lasts = [
        begin + length
        for child, begin, end in zip(parts, begins, ends, strict=True)
        if (length := reach(child)) is not None and begin + length + 1 < end
    ]
    return min(lasts, default=None)


def position(scheduler: Any) -> int:
    """Return how often a scheduler was stepped."""
    steps = getattr(scheduler, "last_epoch", None)
    if steps is None:
        return max((position(child) for child in scheduler._schedulers), default=0)
    return int(steps)


def way_of_loops(declared: Any) -> str:
    """Return the way out for a plain loop, whose script can make a longer schedule."""
    longer = "a longer schedule in the script"
    return longer if declared == "script" else f"{SCHEDULER.name}=script with {longer}"
