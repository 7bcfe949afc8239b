"""Data that several processes divide among them, continued by more or fewer of them.

Each process takes every n-th sample, or batch, of one order that all draw alike. What n processes
have taken is the beginning of that order, so others continue where it ends: no sample comes twice,
and where the rest cannot be divided evenly fewer are left out than there are processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from branchtrack.core.formats import plural

#: Where a stored position records among how many processes the order was divided.
KEY = "divided"


def size(batch_sampler: Any) -> int:
    """Return among how many processes a batch sampler, or the sampler in it, divides its order."""
    for sampler in (batch_sampler, getattr(batch_sampler, "sampler", None)):
        for name in ("num_replicas", "num_processes"):
            count = getattr(sampler, name, None)
            if isinstance(count, int):
                return count
    return 1


def undivided(batch_sampler: Any) -> Any:
    """Return the batch sampler whose batches are divided; one that divides samples as it is."""
    within = getattr(batch_sampler, "batch_sampler", None)
    is_wrapper = isinstance(getattr(batch_sampler, "num_processes", None), int)
    return within if is_wrapper and within is not None else batch_sampler


def again(stored: Mapping[str, Any], now: int) -> dict[str, Any]:
    """Convert a stored position of one process into that of one of ``now``."""
    before = stored.get(KEY, 1)
    if before == now:
        return dict(stored)
    names = [name for name in ("batches", "samples") if name in stored]
    counts = {name: -(-stored[name] * before // now) for name in names}
    return {**stored, **counts, KEY: now}


def words(stored: Mapping[str, Any], now: int) -> str | None:
    """Describe for the record what happened to a position; None if it is divided as it was."""
    before = stored.get(KEY, 1)
    if before == now:
        return None
    left_out = again(stored, now)["batches"] * now - stored["batches"] * before
    rest = f", {plural(left_out, 'batch', 'batches')} of this epoch left out" if left_out else ""
    return f"divided anew among {now}, before {before}{rest}"
