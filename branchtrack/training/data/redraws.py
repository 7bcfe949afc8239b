"""The rest of an epoch in another order: the samples that are left, permuted from a seed.

A position stores what was redrawn (see `position.LoaderPosition.state`), oldest first. It knows no
loader.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

#: The name of what was redrawn of an epoch in a stored position.
REDRAWN = "redrawn"
#: What a resume records of the position whose epoch was redrawn.
WORDS = "restored, the rest of the epoch redrawn"


def redraw(stored: Mapping[str, Any], seeds: Sequence[int], end: int) -> dict[str, Any]:
    """Return a stored position after which the samples up to number ``end`` of its epoch come in
    another order, drawn from each of ``seeds`` in turn.
    """
    entries = [{"from": int(stored["samples"]), "to": end, "seed": int(seed)} for seed in seeds]
    # A batch that was fetched ahead is another one now.
    return {**stored, REDRAWN: [*stored.get(REDRAWN, ()), *entries], "ahead": None}


def parts(now: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, str]:
    """Return what a resume records of the position if its epoch was redrawn, else nothing."""
    return {"data position": WORDS} if now.get(REDRAWN) != before.get(REDRAWN) else {}


def permuted(order: Sequence[Any], redrawn: Sequence[Mapping[str, Any]], epoch: int) -> list[Any]:
    """Return the samples of an epoch in the order that its redraws make of ``order``."""
    samples = list(order)
    for entry in redrawn:
        rest = samples[entry["from"] : entry["to"]]
        generator = np.random.Generator(
            np.random.Philox(np.random.SeedSequence([entry["seed"], epoch]))
        )
        numbers = generator.permutation(len(rest))
        samples[entry["from"] : entry["to"]] = [rest[number] for number in numbers]
    return samples
