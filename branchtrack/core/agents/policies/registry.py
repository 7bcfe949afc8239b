"""The policies that ship, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from branchtrack.core.agents.policies.early_stop import EarlyStop
from branchtrack.core.agents.policies.gradient_norm import GradientNorm
from branchtrack.core.agents.policies.guard import Guard
from branchtrack.core.agents.policies.plateau import Plateau
from branchtrack.core.agents.policies.policy import Policy
from branchtrack.core.agents.policies.population import Population
from branchtrack.errors import InvalidInput

POLICIES: dict[str, type[Policy[Any]]] = {
    policy.name: policy for policy in (Guard, Plateau, GradientNorm, EarlyStop, Population)
}


def create(name: str, options: Mapping[str, Any]) -> Policy[Any]:
    """Return the policy of a name with its options.

    Raises:
        InvalidInput: there is no such policy, or an option is none of its own.
    """
    if name not in POLICIES:
        raise InvalidInput("policy", name, ", ".join(POLICIES))
    return POLICIES[name].of(options)
