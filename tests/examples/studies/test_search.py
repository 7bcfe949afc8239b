"""The study `search`: the loss to reach, the updates until then, and what is said of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from branchtrack.examples.studies import search, table
from branchtrack.examples.studies.recorded import Training
from branchtrack.examples.studies.study import Arm, Outcome, Plan
from tests.examples.studies.made_up import outcome

BRANCHING, RESTART = "branching agent", "restart agent"
PLAN = replace(search.plan(True, 2), cases={"digits": 0.1}, steps=100)


def of(arm: str, seed: int, *curve: tuple[float, float]) -> Outcome:
    return outcome(arm, "digits", seed, curve=list(curve))


RESTARTS = [of(RESTART, 0, (20, 3.0), (40, 1.0), (60, 2.0)), of(RESTART, 1, (20, 2.5), (40, 2.0))]
BRANCHES = [of(BRANCHING, 0, (20, 1.4)), of(BRANCHING, 1, (20, 2.5), (60, 1.5))]


def test_the_loss_to_reach_is_the_mean_of_what_the_restart_agent_had() -> None:
    assert search.target([*RESTARTS, *BRANCHES], "digits") == pytest.approx(1.5)
    assert search.target(BRANCHES, "digits") == math.inf


def test_updates_are_counted_until_the_loss_is_there_for_the_first_time() -> None:
    assert search.updates_to(RESTARTS[0], 1.5) == 40
    assert search.updates_to(RESTARTS[1], 1.5) is None
    assert search.updates_to(of(RESTART, 0, (20, math.nan), (40, 1.0)), 1.5) == 40


def test_who_never_reaches_it_counts_with_all_updates() -> None:
    assert search.ratios(PLAN, [*RESTARTS, *BRANCHES]) == {
        ("digits", 0): pytest.approx(20 / 40),
        ("digits", 1): pytest.approx(60 / 100),
    }


def test_where_neither_reaches_it_there_is_no_ratio() -> None:
    slow = [of(BRANCHING, 0, (20, 9.0)), of(BRANCHING, 1, (20, 9.0))]
    assert search.ratios(PLAN, [*RESTARTS, *slow]) == {
        ("digits", 0): pytest.approx(100 / 40),
        ("digits", 1): None,
    }


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ([0.5, 0.6, 0.9], "60% of the updates, median over tasks and seeds; that is at most 60%."),
        ([0.5, 0.7, 0.9], "70% of the updates, median over tasks and seeds; that is not at most"),
        ([1.2, None], "Left out: 1 of 2"),
        ([None], "Neither"),
    ],
)
def test_it_says_plainly_whether_the_aim_is_met(shares: Sequence[float | None], words: str) -> None:
    named = {("digits", number): share for number, share in enumerate(shares)}
    assert words in search.verdict(named)


def test_the_section_has_the_updates_of_every_arm() -> None:
    outcomes = [*RESTARTS, *BRANCHES]
    lines = search.STUDY.remarks(PLAN, outcomes)
    assert "branching agent 20, 60; restart agent 40, not reached" in lines[1]
    rows = list(table.rows(search.STUDY, PLAN, outcomes))
    assert [row.cells()[-1] for row in rows] == ["40 (2 of 2)", "40 (1 of 2)"]
    assert table.headers(search.STUDY)[-1] == "updates to the target"


def test_a_loss_that_was_there_before_any_decision_is_said() -> None:
    both = [of(arm, 0, (20, 3.0), (40, 1.0)) for arm in (BRANCHING, RESTART)]
    assert search.is_before_a_decision(both[0], both[1], 1.0)
    assert not search.is_before_a_decision(both[0], both[1], 0.5)
    assert not search.is_before_a_decision(both[0], RESTARTS[1], 1.0)
    one = replace(PLAN, seeds=range(1))
    assert search.STUDY.remarks(one, both)[-1].startswith("In 1 of 1 pairs")
    assert not search.STUDY.remarks(PLAN, [*RESTARTS, *BRANCHES])[-1].startswith("In ")


def test_a_population_has_the_updates_of_all_its_members_and_the_loss_of_its_best() -> None:
    points = [(0, 5.0), (10, 3.0), (10, 2.0), (10, math.nan), (20, 1.0)]
    assert search.best_of(points) == [(0, 5.0), (30, 2.0), (60, 1.0)]


class Bench:
    """A laboratory that trains nothing."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.trained: list[dict[str, Any]] = []

    def train(self, task: str, name: str, **options: Any) -> Training:
        self.trained.append({"task": task, "name": name, **options})
        return Training(name, "main", options["steps"], 1.0, 0, 0, [], 1.0, 1.0)


@pytest.mark.parametrize("arm", search.ARMS[:3], ids=lambda arm: arm.name)
@pytest.mark.parametrize("quick", [False, True])
def test_every_arm_begins_at_the_same_rate_and_has_the_same_updates(arm: Arm, quick: bool) -> None:
    plan = search.plan(quick)
    bench: Any = Bench(plan)
    for case in plan.cases:
        assert arm.train(bench, case, 1).steps == plan.steps
    assert [t["lr"] for t in bench.trained] == list(plan.cases.values())
    cells = {c.name for c in search.STUDY.cells(search.plan(quick, 2))}
    assert {t["name"] for t in bench.trained} <= cells


def test_both_agents_differ_in_nothing_but_where_they_go_on() -> None:
    bench: Any = Bench(search.plan(True))
    for arm in search.ARMS[1:3]:
        arm.train(bench, "digits", 0)
    branching, restart = (training["agent"] for training in bench.trained)
    differing = [pair for pair in zip(branching, restart, strict=True) if pair[0] != pair[1]]
    assert differing == [("to=healthy", "to=first")]


def test_comparisons_of_a_population_are_at_evaluations() -> None:
    for quick in (False, True):
        plan = search.plan(quick)
        assert plan.options["interval"] % plan.every == 0
