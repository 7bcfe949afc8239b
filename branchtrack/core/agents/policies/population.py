"""Population-based training over branches: the worst is replaced by a changed copy of the best.

Jaderberg et al., Population Based Training of Neural Networks, arXiv:1711.09846. A member that is
replaced stays in the tree as a stopped branch; its successor is a fork of the best member's node.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from branchtrack.core.agents.decisions import Act, Decision, Fork
from branchtrack.core.agents.policies.policy import Memory, Options, Policy
from branchtrack.core.agents.views import SeenBranch, View


class PopulationOptions(Options):
    """``interval``: updates of a member between two comparisons, ``quantile``: the share replaced.

    ``settings`` (names with commas) are multiplied by one of ``factors``. ``metric``: lower is
    better.
    """

    metric: str = ""
    interval: int = Field(100, ge=1)
    quantile: float = Field(0.25, gt=0, le=0.5)
    settings: str = "lr"
    factors: tuple[float, ...] = (0.8, 1.25)
    seed: int = 0


class Population(Policy[PopulationOptions]):
    """Stop the worst members, and fork the best ones with changed settings in their place."""

    name, about = "population", "replace the worst branches by changed copies of the best"
    model = PopulationOptions
    every_branch = True

    def decide(self, view: View, memory: Memory) -> list[Decision]:
        """Return a stop and a fork for each member to be replaced, once all are comparable."""
        members = [branch for branch in _all(view) if branch.status in ("running", "paused")]
        generation = int(memory.get("generation", 0))
        due = (generation + 1) * self.options.interval + int(memory.setdefault("from", view.step))
        scores = {member.name: self._score(member) for member in members}
        if len(members) < 2 or any(member.step < due for member in members):
            return []
        memory["generation"] = generation + 1
        ranked = sorted(members, key=lambda member: scores[member.name])
        count = max(1, int(len(ranked) * self.options.quantile))
        decisions: list[Decision] = []
        for rank, loser in enumerate(ranked[-count:]):
            decisions += self._replace(view, ranked[rank], loser, scores, generation)
        return decisions

    def _replace(
        self,
        view: View,
        winner: SeenBranch,
        loser: SeenBranch,
        scores: dict[str, float],
        generation: int,
    ) -> list[Decision]:
        if winner.head is None or scores[winner.name] >= scores[loser.name]:
            return []
        changes = self._explore(winner, loser, generation)
        reason = (
            f"Generation {generation + 1}: {loser.name} has {scores[loser.name]:.4g}, "
            f"{winner.name} has {scores[winner.name]:.4g}."
        )
        return [
            Act(action="stop", branch=loser.name, reason=reason),
            Fork(node=winner.head, settings=changes, branch=winner.name, reason=reason),
        ]

    def _explore(self, winner: SeenBranch, loser: SeenBranch, generation: int) -> dict[str, Any]:
        """Return the winner's settings, each multiplied by a factor drawn for this replacement."""
        changes = {}
        for name in (name.strip() for name in self.options.settings.split(",")):
            value = winner.settings.get(name)
            if isinstance(value, int | float) and not isinstance(value, bool):
                key = f"{self.options.seed}:{generation}:{loser.name}:{name}"
                draw = hashlib.sha256(key.encode()).digest()[0]
                factor = self.options.factors[draw % len(self.options.factors)]
                changes[name] = float(f"{value * factor:.6g}")
        return changes

    def _score(self, member: SeenBranch) -> float:
        names = [self.options.metric] if self.options.metric else ["eval_loss", "loss"]
        values = (member.metrics.get(name) for name in names)
        value = next((value for value in values if value is not None), math.inf)
        return value if math.isfinite(value) else math.inf


def _all(view: View) -> Sequence[SeenBranch]:
    return [*([view.own] if view.own else []), *view.siblings]
