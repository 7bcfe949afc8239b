"""Gradient-norm guard: clip harder when the norm leaves its usual range."""

from __future__ import annotations

import math
from statistics import median

from pydantic import Field

from branchtrack.core.agents.decisions import Decision, Set
from branchtrack.core.agents.policies.policy import Memory, Options, Policy
from branchtrack.core.agents.views import View


class GradientNormOptions(Options):
    """``times``: the norm above so many times its median over ``window`` points before.

    ``points`` in a row have to be above. ``metric``: the name that the script logs the norm under.
    """

    metric: str = "grad_norm"
    times: float = Field(4.0, gt=1)
    window: int = Field(50, ge=5)
    points: int = Field(3, ge=1)
    factor: float = Field(0.5, gt=0, lt=1)


class GradientNorm(Policy[GradientNormOptions]):
    """Clip at the usual norm, or lower the rate where nothing can be clipped."""

    name, about = "grad-norm", "clip at the usual norm when gradients grow"
    model = GradientNormOptions

    def decide(self, view: View, memory: Memory) -> list[Decision]:
        """Return a tighter clipping, or else a lower rate, when the norm stays high."""
        options = self.options
        curve = view.curve(options.metric).after(int(memory.get("since", -1)))
        values = [value for value in curve.values if math.isfinite(value)]
        newest, before = values[-options.points :], values[: -options.points][-options.window :]
        if not view.is_live or len(before) < options.window or len(newest) < options.points:
            return []
        usual = median(before)
        if min(newest) <= options.times * usual:
            return []
        memory["since"] = view.step
        clip = view.settings.get("max_grad_norm")
        setting = view.declared.get("max_grad_norm")
        change = view.scaled("lr", options.factor)
        if setting is not None and setting.live and usual > 0 and (not clip or clip > usual):
            change = {"max_grad_norm": float(f"{usual:.4g}")}
        if not change:
            return []
        reason = (
            f"{options.metric} is {newest[-1]:.4g} and was above {options.times:g} times its "
            f"usual {usual:.4g} for {options.points} points, up to step {curve.steps[-1]}."
        )
        return [Set(values=change, reason=reason)]
