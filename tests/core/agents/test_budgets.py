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
        ({"branches": "many"}, "budget.branches", "a whole number from 0 to 9223372036854775807"),
        ({"branches": -1}, "budget.branches", "a whole number"),
        ({"branches": "0.5"}, "budget.branches", "a whole number"),
        ({"per_1000_steps": 2**63}, "budget.per_1000_steps", "9223372036854775807"),
        ({"interventions": "9" * 23}, "budget.interventions", "9223372036854775807"),
        ({"branches": 10**30}, "budget.branches", "9223372036854775807"),
        ({"steps": 10**5000}, "budget.steps", "9223372036854775807"),
        ({"dollars": "nan"}, "budget.dollars", "a number from 0 to 1000000000000"),
        ({"dollars": 1e13}, "budget.dollars", "1000000000000"),
        ({"dollars": 10**400}, "budget.dollars", "1000000000000"),
        ({"patience": 1}, "budget.patience", "per_1000_steps"),
    ],
)
def test_what_is_no_limit_is_refused(values: dict[str, object], field: str, allowed: str) -> None:
    with pytest.raises(InvalidInput, match=allowed) as raised:
        budgets.parse(values)
    assert raised.value.field == field


def test_the_largest_limits_are_those_that_records_hold() -> None:
    budget = budgets.parse({"tokens": 2**63 - 1, "dollars": 10**12})
    assert (budget.tokens, budget.dollars) == (2**63 - 1, 1e12)


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


@pytest.mark.parametrize("options", [{}, {"price_in": 0.0, "price_out": 0.0}])
def test_dollars_of_a_model_without_a_price_are_refused(options: dict[str, float]) -> None:
    budgets.check_priced(budgets.parse({"tokens": 5}), options)
    budgets.check_priced(budgets.parse({"dollars": 5}), {"price_out": 1.0})
    with pytest.raises(InvalidInput, match="price_in"):
        budgets.check_priced(budgets.parse({"dollars": 5}), options)


def test_what_was_spent_is_read_as_it_was_stored() -> None:
    spent = Spent().asked(120, 0.25).intervened(7, branches=1, steps=9)
    assert Spent.read(spent.as_dict()) == spent
    assert (spent.tokens, spent.exchanges, spent.steps) == (120, 1, 9)
    assert Spent.read({}) == Spent() and Spent.read({"from_later": 1}) == Spent()
