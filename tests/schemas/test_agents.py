"""Bodies about agents and proposals are of exactly their types."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from branchtrack.core.agents.budgets import Budget
from branchtrack.schemas.agents import AgentBody, ForkProposalBody


def test_a_budget_has_numbers_or_no_limit() -> None:
    body = AgentBody.model_validate({"mode": "act", "budget": {"branches": 2, "dollars": None}})
    assert set(body.budget) <= set(Budget.model_fields)
    for wrong in ({"mode": "rule"}, {"budget": {"branches": "2"}}, {"state": "ended"}):
        with pytest.raises(ValidationError):
            AgentBody.model_validate(wrong)


def test_a_proposed_fork_expires_after_a_positive_time() -> None:
    assert ForkProposalBody.model_validate({"settings": {"lr": "x0.5"}}).expires_in is None
    for wrong in ({"expires_in": 0}, {"expires_in": float("inf")}, {"mode": "fast"}):
        with pytest.raises(ValidationError):
            ForkProposalBody.model_validate(wrong)
