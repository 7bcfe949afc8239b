"""What agents may use, and what they have used."""

from __future__ import annotations

import pytest

from branchtrack.core.agents import budgets
from branchtrack.core.agents.budgets import Budget, Spent
from branchtrack.errors import InvalidInput


def test_limits_are_read_from_text() -> None:
    budget = budgets.parse({"branches": "3", "dollars": "0.5"})
    assert (budget.branches, budget.dollars, budget.per_1000_steps) == (3, 0.5, 20)


@pytest.mark.parametrize(
    ("values", "field", "allowed"),
    [
        ({"branches": "many"}, "budget.branches", "at least 0"),
        ({"branches": -1}, "budget.branches", "at least 0"),
        ({"dollars": "nan"}, "budget.dollars", "at least 0"),
        ({"patience": 1}, "budget.patience", "per_1000_steps"),
    ],
)
def test_what_is_no_limit_is_refused(values: dict[str, object], field: str, allowed: str) -> None:
    with pytest.raises(InvalidInput, match=allowed) as raised:
        budgets.parse(values)
    assert raised.value.field == field


@pytest.mark.parametrize(
    ("limits", "spent"),
    [
        ({"interventions": 2}, Spent(interventions=2)),
        ({"branches": 1}, Spent(branches=1)),
        ({"steps": 10}, Spent(steps=12)),
        ({"exchanges": 0}, Spent()),
        ({"tokens": 5}, Spent(tokens=6)),
        ({"dollars": 0.1}, Spent(dollars=0.1)),
    ],
)
def test_a_budget_that_is_used_up_is_named(limits: dict[str, float], spent: Spent) -> None:
    (name,) = limits
    assert name in budgets.exhausted(budgets.parse(limits), spent)


def test_a_new_agent_has_all_of_its_budget() -> None:
    assert budgets.exhausted(Budget(), Spent()) == ""


def test_an_agent_without_branches_can_still_change_settings() -> None:
    budget = budgets.parse({"branches": 0, "steps": 0})
    assert budgets.exhausted(budget, Spent()) == ""
    assert "branches" in budgets.beyond(budget, Spent(), branches=1, steps=0)


def test_interventions_count_within_a_window_of_updates() -> None:
    budget, spent = budgets.parse({"per_1000_steps": 2}), Spent()
    for step in (10, 20):
        spent = spent.intervened(step)
    assert "2 interventions" in budgets.over_rate(budget, spent, 30)
    assert "2 interventions" in budgets.over_rate(budget, spent, 1009)
    assert budgets.over_rate(budget, spent, 1010) == ""
    assert spent.intervened(5000).at == (5000,)


def test_a_fork_beyond_what_is_left_is_refused() -> None:
    budget, spent = budgets.parse({"steps": 100}), Spent(steps=60)
    assert "steps" in budgets.beyond(budget, spent, branches=1, steps=50)
    assert budgets.beyond(budget, spent, branches=1, steps=40) == ""


def test_what_was_spent_is_read_as_it_was_stored() -> None:
    spent = Spent().asked(120, 0.25).intervened(7, branches=1, steps=9)
    assert Spent.read(spent.as_dict()) == spent
    assert (spent.tokens, spent.exchanges, spent.steps) == (120, 1, 9)
    assert Spent.read({}) == Spent() and Spent.read({"from_later": 1}) == Spent()
