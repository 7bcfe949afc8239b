"""The arms of the study `llm`: what they are allowed, and what they may use."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from branchtrack.examples.studies import endpoint, llm
from branchtrack.examples.studies.laboratory import Laboratory
from branchtrack.examples.studies.outcome import Plan
from branchtrack.examples.studies.recorded import Training
from branchtrack.examples.studies.study import Arm
from tests.examples.studies.made_up import outcome


class Bench:
    """A laboratory that trains nothing: a lower rate has a lower loss, a first trial none."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.services = {"base_url": "http://127.0.0.1:9/v1"}
        self.trained: list[dict[str, Any]] = []

    def train(self, task: str, name: str, **options: Any) -> Training:
        self.trained.append({"task": task, "name": name, **options})
        loss = math.nan if len(self.trained) == 1 and "agent" not in options else options["lr"]
        steps, curve = options["steps"], [(0.0, 5.0), (float(options["steps"]), loss)]
        return Training(name, "main", 1, steps, 1.0, 0, 0, curve, loss, loss + 1)


ARMS = {arm.name: arm for arm in llm.ARMS}


def trained(arm: Arm, quick: bool = False) -> tuple[Any, Bench]:
    plan = llm.plan(quick)
    bench: Any = Bench(plan)
    case = next(iter(plan.cases)) if arm.per_case else ""
    return arm.train(bench, case, 1), bench


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("arm", llm.ARMS, ids=lambda arm: arm.name)
def test_every_arm_uses_the_same_updates(arm: Arm, quick: bool) -> None:
    outcome, bench = trained(arm, quick)
    assert outcome.steps == sum(t["steps"] for t in bench.trained) == llm.plan(quick).steps
    assert outcome.arm == arm.name


@pytest.mark.parametrize("arm", llm.ARMS, ids=lambda arm: arm.name)
def test_runs_are_found_by_the_name_of_their_cell(arm: Arm) -> None:
    _, bench = trained(arm)
    plan = llm.plan(False)
    cells = [c for c in llm.STUDY.cells(plan) if c.arm.name == arm.name and c.seed == 1]
    for training in bench.trained:
        assert training["name"] == cells[0].name or training["name"].startswith(f"{cells[0].name}-")


@pytest.mark.parametrize("name", ["tuned schedule", "random search"])
def test_a_search_chooses_by_validation_and_reports_the_test(name: str) -> None:
    outcome, bench = trained(ARMS[name])
    assert not outcome.diverged and outcome.loss > 1
    if name == "random search":
        assert outcome.loss == pytest.approx(min(t["lr"] for t in bench.trained[1:]) + 1)
    else:
        assert bench.trained[-1]["lr"] == min(t["lr"] for t in bench.trained[1:-1])


def test_random_search_draws_the_same_rates_for_the_same_seed() -> None:
    rates = [[t["lr"] for t in trained(ARMS["random search"])[1].trained] for _ in range(2)]
    assert rates[0] == rates[1] and len(set(rates[0])) == llm.plan(False).options["trials"]


@pytest.mark.parametrize(
    ("name", "moves", "branches"),
    [
        ("llm", {"keep", "double", "halve"}, "branches=0"),
        ("llm branching", {"keep", "double", "halve", "branch"}, "branches=50"),
        ("restarts", {"keep", "restart"}, "branches=50"),
    ],
)
def test_a_model_is_told_its_moves_and_held_to_them(
    name: str, moves: set[str], branches: str
) -> None:
    outcome, bench = trained(ARMS[name])
    assert outcome.facts["note"] == "scripted endpoint"
    words = list(bench.trained[0]["agent"])
    goal = words[words.index("--goal") + 1]
    assert endpoint.moves_of(goal) == moves and branches in words
    assert words[words.index("--model") + 1] == endpoint.MODEL


def test_a_scripted_endpoint_is_named_as_such() -> None:
    assert "scripted endpoint" in llm.STUDY.remarks(llm.plan(True), [])[0]


def test_where_restarts_are_better_it_says_why() -> None:
    plan = llm.plan(False, 1)
    losses = {"restarts": 2.0, "llm branching": 2.5}
    outcomes = [outcome(arm, case, 0, loss) for arm, loss in losses.items() for case in plan.cases]
    named = [line.split(" `")[0] for line in llm.STUDY.remarks(plan, outcomes)[1:]]
    assert named == ["At lr 0.05", "At lr 0.15"]
    assert not llm.STUDY.remarks(plan, outcomes[-1:])[1:]


def test_the_services_are_an_endpoint_that_answers(tmp_path: Path) -> None:
    laboratory = Laboratory(tmp_path, llm.plan(True))
    try:
        with llm.STUDY.services(laboratory):
            assert laboratory.services["base_url"].startswith("http://127.0.0.1:")
    finally:
        laboratory.close()
        laboratory.database.close()
