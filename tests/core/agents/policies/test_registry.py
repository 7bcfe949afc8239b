"""The policies that ship."""

from __future__ import annotations

import pytest

from branchtrack.core.agents.policies import registry
from branchtrack.errors import InvalidInput
from tests.core.agents.seen import view


@pytest.mark.parametrize("name", sorted(registry.POLICIES))
def test_every_policy_is_created_by_its_name_and_leaves_a_healthy_run_alone(name: str) -> None:
    policy = registry.create(name, {})
    assert policy.name == name and policy.about
    healthy = view([2.0 - step / 200 for step in range(200)])
    assert policy.decide(healthy, {}) == []


def test_an_unknown_policy_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidInput, match="guard, plateau, grad-norm, early-stop, population"):
        registry.create("oracle", {})
