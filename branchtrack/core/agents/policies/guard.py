"""Divergence guard: after a spike or NaN back to the last healthy node, with a lower rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from branchtrack.core.agents.decisions import Decision, Fork, Rollback, Set
from branchtrack.core.agents.policies import tries
from branchtrack.core.agents.policies.policy import Memory, Options, Policy
from branchtrack.core.agents.views import Curve, SeenNode, View


class GuardOptions(Options):
    """``rise``: a smoothed ``metric`` above its best by this share of it is a divergence.

    ``noise``: and by this many times the usual difference between two points. ``window``: points
    that are smoothed. ``limit``: rollbacks in all. ``factor``: what the rate is multiplied with.

    A training from scratch can also be damaged without any rise: it never takes off. ``stuck``
    points without an improvement of ``progress`` (relative) lead back to the first node; 0 is off,
    for a training that has converged looks the same.

    ``to``: always to the last ``healthy`` node, which keeps what was learned, or always to the
    ``first`` one, which begins from scratch; ``auto`` is the former, but for what never took off.

    ``tries``: factors of the rate that are tried one after the other from the node that it goes
    back to, each for ``updates`` updates; the best one goes on. Without any, ``factor`` is taken.
    """

    metric: str = "loss"
    rise: float = Field(0.15, gt=0)
    noise: float = Field(4.0, ge=0)
    window: int = Field(5, ge=1)
    factor: float = Field(0.5, gt=0, lt=1)
    limit: int = Field(8, ge=1)
    stuck: int = Field(0, ge=0)
    progress: float = Field(0.03, gt=0, lt=1)
    to: Literal["auto", "healthy", "first"] = "auto"
    tries: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = ()
    updates: int = Field(20, ge=1)

    @field_validator("tries", mode="before")
    @classmethod
    def _split(cls, tries: Any) -> Any:
        return tries.split(",") if isinstance(tries, str) else tries


#: A loss below this share of the first one shows that a training from scratch has taken off.
_TAKEN_OFF = 0.5


@dataclass(frozen=True)
class Divergence:
    """Where a curve went wrong: the first bad step, and its ``level`` when it was seen."""

    step: int
    level: float
    what: str


class Guard(Policy[GuardOptions]):
    """Go back to the last healthy node, and on from there as a new branch with a lower rate."""

    name, about = "guard", "after a spike or NaN: back to a healthy node, with a lower rate"
    model = GuardOptions

    def decide(self, view: View, memory: Memory) -> list[Decision]:
        """Return a rollback, or a fork if the training has ended, once the curve diverges."""
        options, curve = self.options, view.curve(self.options.metric)
        values = view.scaled("lr", options.factor)
        if view.status in ("waiting", "empty") or not view.nodes or not values:
            return []
        if tries.are_going_on(memory):
            return tries.go_on(memory, view, options.metric, options.updates)
        if int(memory.get("rollbacks", 0)) >= options.limit:
            return []
        divergence = find_divergence(curve, options)
        if divergence is not None:
            return self._go_back(view, self._target(view, divergence), divergence, memory)
        stuck = find_stuck(curve.after(int(memory.get("since", -1))), options)
        if stuck is None or not view.is_live:
            return []
        if options.to == "auto":
            return self._try_lower(view, stuck, curve.values[0], memory)
        return self._go_back(view, self._target(view, stuck), stuck, memory)

    def _target(self, view: View, divergence: Divergence) -> SeenNode | None:
        """Return the node to go back to; None if there is none."""
        if self.options.to == "first":
            return view.nodes[0]
        return last_healthy(view, divergence, self.options)

    def _try_lower(
        self, view: View, stuck: Divergence, first: float, memory: Memory
    ) -> list[Decision]:
        """Return the next attempt from the first node, or the end of the search for a rate.

        Attempts go on as long as they are better than the ones before, or have not taken off.
        """
        options, before = self.options, memory.get("level")
        values, level = view.scaled("lr", options.factor), stuck.level
        if memory.get("searched") or (before is None and level <= _TAKEN_OFF * first):
            memory["since"] = view.step
            return [Set(values=values, reason=f"{stuck.what}. lr x{options.factor:g}.")]
        is_better = before is None or level <= (1 - options.progress) * float(before)
        if is_better or level > _TAKEN_OFF * first:
            memory.update(level=level, node=view.nodes[-1].id, lr=view.settings["lr"])
            return self._go_back(view, view.nodes[0], stuck, memory)
        memory.update(searched=True, since=view.step)
        rate = {"lr": float(memory["lr"]) * options.factor}
        reason = (
            f"{stuck.what}; the attempt before was no worse. "
            f"Back to its end, lr x{options.factor:g} of what it was there."
        )
        memory["rollbacks"] = int(memory.get("rollbacks", 0)) + 1
        return [Rollback(node=str(memory["node"]), values=rate, reason=reason)]

    def _go_back(
        self, view: View, node: SeenNode | None, divergence: Divergence, memory: Memory
    ) -> list[Decision]:
        if node is None:
            return []
        options, values = self.options, view.scaled("lr", self.options.factor)
        memory["since"] = node.step
        memory["rollbacks"] = int(memory.get("rollbacks", 0)) + 1
        reason = (
            f"{divergence.what}; back to the node of step {node.step}. "
            f"lr x{options.factor:g}, {memory['rollbacks']} of {options.limit}."
        )
        rates = [view.scaled("lr", factor).get("lr") for factor in options.tries]
        if view.is_live and any(rates):
            reason = f"{divergence.what}, {memory['rollbacks']} of {options.limit}."
            return tries.begin(memory, node, [rate for rate in rates if rate], reason)
        if view.is_live:
            return [Rollback(node=node.id, values=values, reason=reason)]
        return [Fork(node=node.id, settings=values, reason=reason)]


def find_divergence(curve: Curve, options: GuardOptions) -> Divergence | None:
    """Return where a curve diverges for the first time, or None."""
    smoothed, window = curve.smoothed(options.window), options.window
    best, best_step, usual = math.inf, -1, 0.0
    differences: list[float] = []
    before = math.nan
    for index, (step, value) in enumerate(curve.points()):
        if not math.isfinite(value):
            name = "NaN" if math.isnan(value) else "infinite"
            return Divergence(step, value, f"{options.metric} is {name} since step {step}")
        if math.isfinite(before):
            differences.append(abs(value - before))
            usual = median(differences[-10 * window :])
        before = value
        # The first points alone say little of what is usual.
        smooth = (
            smoothed.values[index] if index >= window - 1 else median(curve.values[: index + 1])
        )
        limit = best + max(options.rise * abs(best), options.noise * usual)
        if index >= window and smooth > limit:
            what = (
                f"{options.metric} rose from {best:.4g} (step {best_step}) to {smooth:.4g} "
                f"(step {step})"
            )
            return Divergence(_first_above(curve, best_step, best), smooth, what)
        if smooth < best:
            best, best_step = smooth, step
    return None


def find_stuck(curve: Curve, options: GuardOptions) -> Divergence | None:
    """Return that a curve has not fallen for ``stuck`` points, if that is so."""
    if not options.stuck or len(curve) < options.window + options.stuck:
        return None
    smoothed = curve.smoothed(options.window)
    before = min(smoothed.values[options.window - 1 : -options.stuck])
    now = min(smoothed.values[-options.stuck :])
    if not now > before - options.progress * abs(before):
        return None
    what = (
        f"{options.metric} has not fallen by {options.progress:.0%} of {before:.4g} in "
        f"{options.stuck} points up to step {curve.steps[-1]}"
    )
    return Divergence(curve.steps[-options.stuck], min(before, now), what)


def last_healthy(view: View, divergence: Divergence, options: GuardOptions) -> SeenNode | None:
    """Return the newest node of the branch's line before a divergence; None if there is none."""
    healthy = [
        node
        for node in view.nodes
        if node.step < divergence.step and _is_finite(node.metrics.get(options.metric))
    ]
    return healthy[-1] if healthy else None


def _is_finite(value: float | None) -> bool:
    return value is None or math.isfinite(value)


def _first_above(curve: Curve, step: int, best: float) -> int:
    """Return the step after ``step`` from which on every value is above ``best``."""
    first = step + 1
    for at, value in curve.after(step).points():
        if value <= best:
            first = at + 1
    return first
