"""A policy as what decides in an agent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from branchtrack.agents.execution import Outcome
from branchtrack.core.agents.decisions import Decision
from branchtrack.core.agents.policies import registry
from branchtrack.core.agents.records import Agent
from branchtrack.core.agents.views import View
from branchtrack.core.records import Branch


class RuleController:
    """Decides by one of the policies that ship.

    Raises:
        InvalidInput: there is no such policy, or an option is none of its own.
    """

    def __init__(self, policy: str, options: Mapping[str, Any]) -> None:
        self._policy = registry.create(policy, options)
        self.every_branch = self._policy.every_branch
        metric = getattr(self._policy.options, "metric", "")
        self.metrics: tuple[str, ...] = (metric,) if metric else ("eval_loss", "loss")

    @property
    def options(self) -> dict[str, Any]:
        """The options in force, with those that were left out."""
        options: dict[str, Any] = self._policy.options.model_dump(mode="json")
        return options

    def take(self, agent: Agent) -> None:
        """Do nothing: a rule needs to know no agent."""

    def decide(self, view: View, memory: dict[str, Any]) -> list[Decision]:
        """Return what the policy decides."""
        return self._policy.decide(view, memory)

    def settle(self, agent: Agent, branch: Branch, view: View, outcomes: list[Outcome]) -> None:
        """Do nothing: the requests themselves are the record."""
