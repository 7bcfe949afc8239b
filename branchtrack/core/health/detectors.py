"""Detectors: each is fed the points of one metric in order, and says when something begins.

The same points give the same findings, whether they come one by one or as a whole curve. A detector
takes time for each point that does not depend on how many came before. It knows no run.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from branchtrack.core.health.rules import Target

#: A median absolute deviation as the standard deviation of a normal distribution.
_NORMAL = 1.4826
#: Points without which a spike cannot be told from the beginning of a training.
WARM_UP = 20
#: Finite points after which values that are not finite count as something new.
_RECOVERED = 50


@dataclass(frozen=True)
class Finding:
    """Something that begins at ``step``; ``facts`` are the numbers that show it.

    ``after`` is the last step before it that shows the training well, if there is one.
    """

    kind: str
    metric: str
    step: int
    value: float
    facts: dict[str, Any] = field(default_factory=dict)
    after: int | None = None


class Detector(Protocol):
    """Watches one metric for one thing."""

    def feed(self, step: int, value: float) -> Finding | None:
        """Take the next point; return what begins with it."""

    def restart(self) -> None:
        """Forget what has been found, and keep what the points so far say of later ones."""


class NaNDetector:
    """Finds values that are not finite: ``patience`` in a row, reported with the first one's step.

    They are reported once, and again after many finite ones.
    """

    def __init__(self, metric: str, patience: int = 1) -> None:
        self._metric, self._patience = metric, patience
        self._after: int | None = None
        self.restart()

    def restart(self) -> None:
        """Forget what has been found."""
        self._first, self._value, self._count = 0, 0.0, 0
        self._reported, self._finite = False, 0

    def feed(self, step: int, value: float) -> Finding | None:
        """Take the next point; return what begins with it."""
        if math.isfinite(value):
            self._after = step
            self._count, self._finite = 0, self._finite + 1
            self._reported = self._reported and self._finite < _RECOVERED
            return None
        if not self._count:
            self._first, self._value = step, value
        self._count, self._finite = self._count + 1, 0
        if self._reported or self._count < self._patience:
            return None
        self._reported = True
        return Finding("nan", self._metric, self._first, self._value, after=self._after)


class SpikeDetector:
    """Finds values far above the median of the last ``window`` points.

    A spike is more than ``deviations`` median absolute deviations and ``floor`` times the median
    above them. Until there is a full window without another one, it is the same spike.
    """

    def __init__(
        self, metric: str, deviations: float = 10.0, floor: float = 1.5, window: int = 50
    ) -> None:
        self._metric, self._deviations, self._floor = metric, deviations, floor
        self._recent: deque[float] = deque(maxlen=window)
        self._sorted: list[float] = []
        self._quiet = window
        self._after: int | None = None

    def restart(self) -> None:
        """Forget what has been found, and keep the last points to compare with."""
        self._quiet = self._recent.maxlen or 0

    def feed(self, step: int, value: float) -> Finding | None:
        """Take the next point; return what begins with it."""
        if not math.isfinite(value):
            return None
        finding = self._compare(step, value)
        if self._quiet:
            self._after = step
        if len(self._recent) == self._recent.maxlen:
            del self._sorted[bisect_left(self._sorted, self._recent[0])]
        self._recent.append(value)
        insort(self._sorted, value)
        return finding

    def _compare(self, step: int, value: float) -> Finding | None:
        if len(self._sorted) < min(WARM_UP, self._recent.maxlen or WARM_UP):
            return None
        median = _median(self._sorted)
        is_spike = value > median + (self._floor - 1) * abs(median)
        if is_spike:
            spread = _NORMAL * _median(sorted(abs(each - median) for each in self._sorted))
            is_spike = value > median + self._deviations * spread and value > median
        if not is_spike:
            self._quiet += 1
            return None
        is_new = self._quiet >= (self._recent.maxlen or 0)
        self._quiet = 0
        if not is_new:
            return None
        return Finding("spike", self._metric, step, value, {"median": median}, self._after)


class PlateauDetector:
    """Finds ``patience`` points in a row that are no better than the best before them.

    Better is lower by the fraction ``min_delta``, or higher if ``higher``. ``span`` smooths the
    values over about so many points; 1 takes them as they are.
    """

    def __init__(
        self,
        metric: str,
        patience: int,
        min_delta: float = 0.001,
        *,
        span: int = 1,
        higher: bool = False,
    ) -> None:
        self._metric, self._patience, self._min_delta = metric, patience, min_delta
        self._weight, self._sign = 2 / (span + 1), -1.0 if higher else 1.0
        self._mean: float | None = None
        self._best, self._best_step = math.inf, 0
        self._waited, self._reported = 0, False

    def restart(self) -> None:
        """Wait for an improvement anew; the best value so far remains the one to improve on."""
        self._waited, self._reported = 0, False

    def feed(self, step: int, value: float) -> Finding | None:
        """Take the next point; return what begins with it."""
        if not math.isfinite(value):
            return None
        value *= self._sign
        mean = value if self._mean is None else self._mean + self._weight * (value - self._mean)
        self._mean = mean
        if self._best == math.inf or mean < self._best - self._min_delta * abs(self._best):
            self._best, self._best_step = mean, step
            self.restart()
            return None
        self._waited += 1
        if self._reported or self._waited < self._patience:
            return None
        self._reported = True
        facts = {"best": self._sign * self._best, "since": self._best_step, "points": self._waited}
        return Finding("plateau", self._metric, step, self._sign * mean, facts)


class TargetDetector:
    """Finds the first point at which a target is reached."""

    def __init__(self, target: Target) -> None:
        self._target, self._is_reached = target, False

    def restart(self) -> None:
        """Do nothing: a target that was reached before does not get reached again."""

    def feed(self, step: int, value: float) -> Finding | None:
        """Take the next point; return what begins with it."""
        if self._is_reached or not self._target.is_reached(value):
            return None
        self._is_reached = True
        return Finding("target", self._target.metric, step, value, {"target": str(self._target)})


def findings(detector: Detector, points: Iterable[tuple[int, float]]) -> list[Finding]:
    """Return all that a detector finds in the (step, value) of a curve."""
    results = (detector.feed(step, value) for step, value in points)
    return [finding for finding in results if finding is not None]


def _median(ordered: list[float]) -> float:
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
