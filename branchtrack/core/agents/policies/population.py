"""Population-based training over branches: the worst is replaced by a changed copy of the best.

Jaderberg et al., Population Based Training of Neural Networks, arXiv:1711.09846. A member that is
replaced stays in the tree as a stopped branch; its successor is a fork of the best member's node.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, field_validator

from branchtrack.core.agents.decisions import Act, Decision, Fork
from branchtrack.core.agents.policies.policy import Memory, Options, Policy
from branchtrack.core.agents.views import SeenBranch, View, multiplied


class PopulationOptions(Options):
    """``interval``: updates of a member between two comparisons, ``quantile``: the share replaced.

    ``settings`` (names with commas) are multiplied by one of ``factors``. ``metric``: lower is
    better.
    """

    metric: str = ""
    interval: int = Field(100, ge=1)
    quantile: float = Field(0.25, gt=0, le=0.5)
    settings: str = "lr"
    factors: tuple[Annotated[float, Field(gt=0)], ...] = Field((0.8, 1.25), min_length=1)
    seed: int = 0

    @field_validator("factors", mode="before")
    @classmethod
    def _split(cls, factors: Any) -> Any:
        return factors.split(",") if isinstance(factors, str) else factors


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
        changes = self._explore(view, winner, loser, generation)
        reason = (
            f"Generation {generation + 1}: {loser.name} has {scores[loser.name]:.4g}, "
            f"{winner.name} has {scores[winner.name]:.4g}."
        )
        # The fork comes first: without it nothing takes the place of what is stopped.
        return [
            Fork(node=winner.head, settings=changes, branch=winner.name, reason=reason),
            Act(action="stop", branch=loser.name, reason=reason),
        ]

    def _explore(
        self, view: View, winner: SeenBranch, loser: SeenBranch, generation: int
    ) -> dict[str, Any]:
        """Return the winner's settings, each multiplied by a factor drawn for this replacement."""
        changes: dict[str, Any] = {}
        for name in (name.strip() for name in self.options.settings.split(",")):
            setting = view.declared.get(name)
            if setting is not None:
                key = f"{self.options.seed}:{generation}:{loser.name}:{name}"
                draw = hashlib.sha256(key.encode()).digest()[0]
                factor = self.options.factors[draw % len(self.options.factors)]
                changes |= multiplied(setting, winner.settings.get(name), factor)
        return changes

    def _score(self, member: SeenBranch) -> float:
        names = [self.options.metric] if self.options.metric else ["eval_loss", "loss"]
        values = (member.metrics.get(name) for name in names)
        value = next((value for value in values if value is not None), math.inf)
        return value if math.isfinite(value) else math.inf


def _all(view: View) -> Sequence[SeenBranch]:
    return [*([view.own] if view.own else []), *view.siblings]
