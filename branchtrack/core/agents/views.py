"""What an agent sees of a run: one moment of it, as values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from branchtrack.core.settings import Setting


@dataclass(frozen=True)
class Curve:
    """The points of a metric along a branch: steps, strictly rising, and a value for each."""

    steps: Sequence[int] = ()
    values: Sequence[float] = ()

    def __len__(self) -> int:
        return len(self.steps)

    def points(self) -> Iterator[tuple[int, float]]:
        """Yield (step, value), the oldest first."""
        return zip(self.steps, self.values, strict=True)

    def after(self, step: int) -> Curve:
        """Return the points with a later step."""
        first = next((i for i, at in enumerate(self.steps) if at > step), len(self.steps))
        return Curve(self.steps[first:], self.values[first:])

    def smoothed(self, window: int) -> Curve:
        """Return the median of each point and the ``window - 1`` before it; NaN if one is."""
        values = []
        for last in range(1, len(self.values) + 1):
            part = self.values[max(0, last - window) : last]
            values.append(median(part) if all(map(math.isfinite, part)) else math.nan)
        return Curve(self.steps, values)


@dataclass(frozen=True)
class SeenNode:
    """A node that can be gone back to: its step, and the metrics that it was committed with."""

    id: str
    step: int
    kind: str
    metrics: Mapping[str, float | None]
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class SeenBranch:
    """A branch of the run, as a line: ``changes`` are those that it began with.

    ``metrics`` are the last values.
    """

    name: str
    status: str
    step: int
    forked_from: str | None
    forked_at: int | None
    changes: Mapping[str, Any]
    settings: Mapping[str, Any]
    metrics: Mapping[str, float]
    head: str | None
    parent: str | None = None


@dataclass(frozen=True)
class SeenTrial:
    """A change that was tried or is being tried: what its pairs show, in the metric's unit.

    ``verdict`` as people read it; ``pending`` while it is not settled. ``steps`` are those of the
    nodes that its pairs begin at.
    """

    change: str
    steps: Sequence[int]
    metric: str
    verdict: str
    effect: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def line(self) -> str:
        """The trial as ``trial of lr=x0.5 at step 100: helps, loss -0.005 (-0.006 to -0.004)``."""
        where = ", ".join(map(str, self.steps))
        words = f"trial of {self.change} at step {where}: {self.verdict}"
        if self.effect is None:
            return words
        words += f", {self.metric} {self.effect:+.3g}"
        if self.low is None or self.high is None:
            return words
        return f"{words} ({self.low:+.3g} to {self.high:+.3g})"


@dataclass(frozen=True)
class View:
    """A branch at a moment, with the rest of its run.

    ``curves`` have the branch's points by metric, ``nodes`` its line from the root (oldest first),
    ``siblings`` the run's other branches but for those of trials. ``tried`` are its latest requests
    with their outcomes, the newest first; ``trials`` the changes that trials of the run are about,
    the newest last.
    """

    run: str
    branch: str
    status: str
    step: int
    max_steps: int | None
    settings: Mapping[str, Any]
    declared: Mapping[str, Setting]
    curves: Mapping[str, Curve] = field(default_factory=dict)
    nodes: Sequence[SeenNode] = ()
    siblings: Sequence[SeenBranch] = ()
    tried: Sequence[Mapping[str, Any]] = ()
    trials: Sequence[SeenTrial] = ()
    actions: Sequence[str] = ()
    own: SeenBranch | None = None
    evaluates: bool = False

    @property
    def is_live(self) -> bool:
        """Whether a process trains the branch."""
        return self.status in ("running", "paused")

    @property
    def is_over(self) -> bool:
        """Whether the branch has reached its end."""
        return self.max_steps is not None and self.step >= self.max_steps

    def curve(self, metric: str) -> Curve:
        """Return the curve of a metric; an empty one if it was never logged."""
        return self.curves.get(metric, Curve())

    def first_with_points(self, *metrics: str) -> str:
        """Return the first of some metrics that has points; the last of them if none has."""
        return next((name for name in metrics if len(self.curve(name))), metrics[-1])

    def scaled(self, name: str, factor: float) -> dict[str, Any]:
        """Return a setting times a factor, within its bounds, by name; empty if it cannot be.

        Nothing is returned where it would stay as it is.
        """
        setting = self.declared.get(name)
        if setting is None or not setting.live:
            return {}
        return multiplied(setting, self.settings.get(name), factor)


def multiplied(setting: Setting, value: Any, factor: float) -> dict[str, Any]:
    """Return a setting's value times a factor, as `View.scaled`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return {}
    scaled = float(f"{value * factor:.6g}")
    low, high = setting.minimum, setting.maximum
    scaled = scaled if low is None else max(scaled, float(low))
    scaled = scaled if high is None else min(scaled, float(high))
    number: int | float = round(scaled) if setting.dtype == "int" else scaled
    return {} if number == value else {setting.name: number}
