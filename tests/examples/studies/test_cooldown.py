"""The arms of the study `cooldown`: what they train, and which branch ends at which length."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from branchtrack.examples.studies import cooldown, recorded
from branchtrack.examples.studies.outcome import Outcome, Plan
from branchtrack.examples.studies.recorded import Training
from branchtrack.examples.studies.savings import AIM, ALIKE, FULL, TRUNK
from tests.examples.studies import made_up

ARMS = {arm.name: arm for arm in cooldown.ARMS}


class Bench:
    """A laboratory that trains nothing, and notes what it was to train and to start."""

    def __init__(self, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plan = plan
        self.database: Any = self
        self.trained: list[dict[str, Any]] = []
        self.commands: list[tuple[str, ...]] = []
        whole = Training("run", "main", 0, 312, 1.0, 4, 0, [], 1.0, 1.0)
        monkeypatch.setattr(recorded, "read", lambda *_: whole)
        monkeypatch.setattr(cooldown.runs, "find_run", lambda *_: None)
        monkeypatch.setattr(
            cooldown, "_curve", lambda _bench, ref, metric: [(1.0, float(len(ref + metric)))]
        )

    @contextmanager
    def read(self) -> Iterator[None]:
        yield

    def train(self, task: str, name: str, **options: Any) -> Training:
        self.trained.append({"task": task, "name": name, **options})
        return Training(name, "main", 1, options["steps"], 1.0, 0, 0, [], 1.0, 1.0)

    @contextmanager
    def command(self, *words: str, log: str) -> Iterator[str]:
        self.commands.append(words)
        yield log

    def wait(self, _process: str, _log: str) -> None:
        pass


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    return Bench(cooldown.plan(quick=True), monkeypatch)


@pytest.mark.parametrize("quick", [False, True])
def test_every_node_that_is_cooled_down_from_is_a_checkpoint_and_the_aim_can_be_met(
    quick: bool,
) -> None:
    plan = cooldown.plan(quick)
    starts = list(cooldown._starts(plan).values())
    assert all(start % plan.options["save"] == 0 and start > 0 for start in starts)
    assert all(length % plan.every == 0 for length in plan.cases.values())
    used = max(starts) + len(starts) * plan.options["cooldown"]
    assert used / plan.steps <= AIM and plan.steps == sum(plan.cases.values())


def test_the_trunk_is_trained_once_and_cooled_down_by_one_command(bench: Any) -> None:
    outcome = ARMS[TRUNK].train(bench, "", 1)
    (trunk,) = bench.trained
    assert (trunk["steps"], trunk["schedule"]) == (216, "constant_with_warmup")
    name = "trunk_with_cool-downs-s1"
    nodes = ",".join(f"{name}@{step}" for step in (36, 96, 156, 216))
    change = ("lr_scheduler_type=linear", "max_steps=+24")
    assert bench.commands == [("resume", nodes, "--name", "cooldown", "--set", *change)]
    ends = [end["run"] for end in outcome.facts["lengths"].values()]
    assert ends[0] == f"{name}/cooldown-at-36@60" and ends[-1] == f"{name}/cooldown-at-216@240"
    assert outcome.steps == 312 and outcome.run == ends[-1]


@pytest.mark.parametrize(
    ("arm", "how"), [(FULL, {"schedule": "cosine"}), (ALIKE, {"decay": 24})], ids=[FULL, ALIKE]
)
def test_full_trainings_begin_from_scratch_at_each_length(
    bench: Any, arm: str, how: dict[str, Any]
) -> None:
    outcome = ARMS[arm].train(bench, "", 2)
    assert [training["steps"] for training in bench.trained] == [60, 120, 180, 240]
    assert all(how.items() <= training.items() for training in bench.trained)
    assert bench.commands == [] and outcome.steps == bench.plan.steps == 600


def test_arms_have_all_in_common_but_their_schedules(bench: Any) -> None:
    for arm in cooldown.ARMS:
        arm.train(bench, "", 3)
    for option in ("task", "seed", "warm-up", "every", "lr"):
        assert len({training[option] for training in bench.trained}) == 1
    cells = [cell.name for cell in cooldown.STUDY.cells(cooldown.plan(False, 5))]
    assert {training["name"].split("-s3")[0] + "-s3" for training in bench.trained} <= {*cells}


def test_the_rates_are_the_best_of_the_search() -> None:
    for arm, losses in cooldown._SEARCH.items():
        assert cooldown._RATES[arm] == min(losses, key=lambda rate: losses[rate])
    assert cooldown._RATES[ALIKE] == cooldown._RATES[TRUNK]
    assert not {3, 4} & {*cooldown.plan(False).seeds}


def test_an_outcome_is_shown_at_each_length(bench: Any) -> None:
    outcome = Outcome.read(ARMS[TRUNK].train(bench, "", 1).as_dict())
    views = cooldown.STUDY.views(outcome)
    assert [view.case for view in views] == list(bench.plan.cases)
    name = "trunk_with_cool-downs-s1/cooldown-at-36"
    assert views[0].loss == len(f"{name}test_loss")
    assert views[0].curve == [(1.0, float(len(f"{name}eval_loss")))]
    assert cooldown.STUDY.columns[0][1](bench.plan, views, views[:1]) == f"{len(name) + 9:.3f}"


def test_the_section_says_how_the_branches_were_made_and_the_rates_found() -> None:
    plan = cooldown.plan(False)
    outcomes = [
        made_up.outcome(arm, case, seed)
        for arm in (TRUNK, FULL, ALIKE)
        for case in plan.cases
        for seed in plan.seeds
    ]
    text = "\n".join(cooldown.STUDY.remarks(plan, outcomes))
    assert "s0@1440 --name cooldown --set lr_scheduler_type=linear max_steps=+160`" in text
    assert "seeds 3 and 4" in text and "in 12 of 12 pairs" in text
    quick = "\n".join(cooldown.STUDY.remarks(cooldown.plan(True), outcomes))
    assert "seeds 3 and 4" not in quick
