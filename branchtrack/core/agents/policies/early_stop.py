"""Early stop: end a training whose metric no longer improves."""

from __future__ import annotations

from pydantic import Field

from branchtrack.core.agents.decisions import Act, Decision
from branchtrack.core.agents.policies.plateau import points_since_best
from branchtrack.core.agents.policies.policy import Memory, Options, Policy
from branchtrack.core.agents.views import View


class EarlyStopOptions(Options):
    """``patience``: points of ``metric`` without an improvement of ``min_delta`` (relative).

    Nothing is stopped before ``min_steps``.
    """

    metric: str = "eval_loss"
    patience: int = Field(5, ge=1)
    min_delta: float = Field(0.0, ge=0, lt=1)
    min_steps: int = Field(0, ge=0)


class EarlyStop(Policy[EarlyStopOptions]):
    """Stop; the node that is made can be resumed."""

    name, about = "early-stop", "stop when the metric stops improving"
    model = EarlyStopOptions

    def decide(self, view: View, memory: Memory) -> list[Decision]:
        """Return a stop once the newest ``patience`` points have brought nothing."""
        options = self.options
        stale = points_since_best(view.curve(options.metric), options.min_delta)
        if not view.is_live or view.step < options.min_steps or stale < options.patience:
            return []
        reason = f"{options.metric} has not improved in {stale} points."
        return [Act(action="stop", reason=reason)]
