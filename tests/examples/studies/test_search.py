"""The study `search`: the arms differ in nothing but what they are about."""

from __future__ import annotations

import math
from typing import Any

import pytest

from branchtrack.examples.studies import search, table
from branchtrack.examples.studies.outcome import Plan
from branchtrack.examples.studies.reaching import BRANCHING, ONE_RATE, REFERENCE, RESTART
from branchtrack.examples.studies.recorded import Training
from branchtrack.examples.studies.study import Arm
from branchtrack.examples.studies.tasks import options
from tests.examples.studies.made_up import outcome

ARMS = {arm.name: arm for arm in search.ARMS}
ALONE = [arm for arm in search.ARMS if arm.name != "PBT"]


def test_the_section_says_what_was_measured_and_what_was_chosen() -> None:
    plan = search.plan(False, 1)
    curves = {
        REFERENCE: [(20, 1.0)],
        BRANCHING: [(20, 2.0), (40, 1.0)],
        ONE_RATE: [(60, 1.0)],
        RESTART: [(80, 0.9)],
    }
    outcomes = [
        outcome(arm, case, 3, curve=curve) for case in plan.cases for arm, curve in curves.items()
    ]
    text = "\n".join(search.STUDY.remarks(plan, outcomes))
    assert "after update 150, in the cases at once with the first" in text
    assert "Where the rate goes wrong later: 'branching agent' needs 50% of" in text
    assert "Where the rate goes wrong later: 'branching one rate' needs 75% of" in text
    assert "Where it is wrong from the first update on: 'branching agent' needs 50% of" in text
    assert "In 3 of 3 pairs the loss was there before the error" in text
    assert "on the seeds 0 to 2" in text
    rows = [row for row in table.rows(search.STUDY, plan, outcomes) if row.case == "bert"]
    assert [row.cells()[-1] for row in rows] == [
        "40 (1 of 1)",
        "60 (1 of 1)",
        "80 (1 of 1)",
        "20 (1 of 1)",
    ]


def test_the_quick_variant_says_nothing_of_what_it_has_not_trained() -> None:
    text = "\n".join(search.STUDY.remarks(search.plan(True), []))
    assert "at once" not in text and "from the first update" not in text


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
        return Training(name, "main", 1, options["steps"], 1.0, 0, 0, [], 1.0, 1.0)


@pytest.mark.parametrize("arm", ALONE, ids=lambda arm: arm.name)
@pytest.mark.parametrize("quick", [False, True])
def test_every_arm_has_the_same_rate_and_the_same_updates(arm: Arm, quick: bool) -> None:
    plan = search.plan(quick)
    bench: Any = Bench(plan)
    for case in plan.cases:
        assert arm.train(bench, case, 3).steps == plan.steps
    assert [t["task"] for t in bench.trained] == [case["task"] for case in plan.cases.values()]
    for training, case in zip(bench.trained, plan.cases.values(), strict=True):
        turn = plan.steps if arm.name == REFERENCE else case["turn"]
        assert (training["turn"], training["schedule"]) == (turn, "jump")
    cells = {c.name for c in search.STUDY.cells(plan)}
    assert {t["name"] for t in bench.trained} <= cells


def test_agents_differ_in_nothing_but_where_they_go_on_and_what_they_try_there() -> None:
    bench: Any = Bench(search.plan(True))
    for name in (BRANCHING, ONE_RATE, RESTART):
        ARMS[name].train(bench, "digits", 3)
    branching, one_rate, restart = (training["agent"] for training in bench.trained)
    differing = [pair for pair in zip(one_rate, restart, strict=True) if pair[0] != pair[1]]
    assert differing == [("to=healthy", "to=first")]
    assert branching == [*one_rate, "--option", "tries=0.5,0.25,0.125,0.0625"]


def test_comparisons_of_a_population_are_at_evaluations() -> None:
    for quick in (False, True):
        plan = search.plan(quick)
        assert plan.options["interval"] % plan.every == 0


def test_the_error_is_as_large_as_the_schedule_makes_it() -> None:
    assert search._TIMES == options.JUMP
