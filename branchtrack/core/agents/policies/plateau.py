"""Plateau: lower the learning rate when a metric no longer improves.

As torch's `ReduceLROnPlateau`, except that each step down is a node of the tree.
"""

from __future__ import annotations

import math

from pydantic import Field

from branchtrack.core.agents.decisions import Decision, Set
from branchtrack.core.agents.policies.policy import Memory, Options, Policy
from branchtrack.core.agents.views import Curve, View


class PlateauOptions(Options):
    """``patience``: evaluations without an improvement of ``min_delta`` (relative).

    Without a ``metric``: ``eval_loss``, or else the smoothed ``loss``, whose patience is in points.
    """

    metric: str = ""
    patience: int = Field(5, ge=1)
    min_delta: float = Field(1e-3, ge=0, lt=1)
    factor: float = Field(0.5, gt=0, lt=1)
    smallest: float = Field(1e-8, ge=0)
    #: Points of `loss` for each that an evaluation would have.
    window: int = Field(20, ge=1)


class Plateau(Policy[PlateauOptions]):
    """Multiply the rate when nothing improves."""

    name, about = "plateau", "lower the learning rate when the metric stops improving"
    model = PlateauOptions

    def decide(self, view: View, memory: Memory) -> list[Decision]:
        """Return a lower rate once the newest ``patience`` points have brought nothing."""
        metric = self.options.metric or view.first_with_points("eval_loss", "loss")
        since = int(memory.get("since", -1))
        curve = view.curve(metric).after(since)
        patience = self.options.patience
        if metric == "loss":
            curve, patience = curve.smoothed(self.options.window), patience * self.options.window
        stale = points_since_best(curve, self.options.min_delta)
        if not view.is_live or stale < patience:
            return []
        values = view.scaled("lr", self.options.factor)
        if not values or values["lr"] < self.options.smallest:
            return []
        memory["since"] = view.step
        reason = (
            f"{metric} has not improved by {self.options.min_delta:g} of its value in {stale} "
            f"points up to step {curve.steps[-1]}."
        )
        return [Set(values=values, reason=reason)]


def points_since_best(curve: Curve, min_delta: float) -> int:
    """Return how many points came after the best that was an improvement; lower is better."""
    best, since = math.inf, 0
    for _, value in curve.points():
        if math.isfinite(value) and value < best - min_delta * (abs(best) if best < 1e300 else 0):
            best, since = value, 0
        else:
            since += 1
    return since
