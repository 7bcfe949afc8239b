"""When a trial is judged, and at which level, so that judging it early keeps its error rate.

A trial of up to R repeats is judged after half, three quarters and all of them. The error that may
be made in all is spent with the square of the share of repeats: a power family of alpha spending
(Lan and DeMets 1983, Biometrika 70; Kim and DeMets 1987, Biometrika 74). The levels are those at
which paths of a t statistic that has no effect cross for the first time, found by simulation: the
usual boundaries hold for the normal distribution and let 5.6 % through at 4 to 8 repeats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

#: The share of repeats that is the first look, and then half of what is left of them.
_SHARES = (0.5, 0.75, 1.0)
#: Fewer pairs have no useful interval.
FEWEST = 3
#: The most repeats of a trial.
MOST = 100
_PATHS, _SEED = 400_000, 20261130
#: What is left of the error for the imprecision of the simulation (0.035 % of paths, one sigma).
_KEPT = 0.98


def looks(repeats: int) -> tuple[int, ...]:
    """Return after how many repeats a trial of at most ``repeats`` is judged."""
    if repeats <= FEWEST:
        return (repeats,)
    return tuple(sorted({max(FEWEST, math.ceil(share * repeats)) for share in _SHARES}))


@lru_cache(maxsize=64)
def levels(at: tuple[int, ...], error: float) -> tuple[float, ...]:
    """Return the two-sided level of each look, so that all of them together err with ``error``.

    ``at`` as `looks` returns them. The interval of a look has the coverage 1 minus its level.
    """
    if len(at) == 1:
        return (error,)
    import numpy as np
    from scipy.special import stdtr

    generator = np.random.default_rng(_SEED)
    total, squares = np.zeros(_PATHS), np.zeros(_PATHS)
    inside = np.ones(_PATHS, dtype=bool)
    spent, before, nominal = 0.0, 0, list[float]()
    for count in at:
        total, squares = _grown(generator, total, squares, count - before)
        spread = np.sqrt((squares - total**2 / count) / (count - 1) / count)
        chances = 2 * stdtr(count - 1, -np.abs(total / count / spread))
        target = error * _KEPT * (count / at[-1]) ** 2
        crossing = round((target - spent) * _PATHS)
        level = float(np.partition(chances[inside], crossing)[crossing])
        inside &= chances >= level
        spent, before = target, count
        nominal.append(level)
    return tuple(nominal)


def _grown(
    generator: np.random.Generator, total: np.ndarray, squares: np.ndarray, more: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return sums and sums of squares with so many standard normal values more, for each path."""
    added = generator.standard_normal(_PATHS) * math.sqrt(more)
    within = generator.chisquare(more - 1, _PATHS) if more > 1 else 0.0
    return total + added, squares + added**2 / more + within


def next_look(at: Sequence[int], done: int) -> int | None:
    """Return the first look beyond so many repeats; None after the last one."""
    return next((count for count in at if count > done), None)
