"""One run of each arm is reviewed, and the table gains what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from branchtrack.examples.studies import reviews
from branchtrack.examples.studies.outcome import Outcome, Plan
from tests.examples.studies import made_up

PLAN = Plan(cases={"a": 1}, seeds=[0, 1], steps=100, every=10)


def outcomes() -> list[Outcome]:
    """Two seeds of an arm that changes something, and one that does not."""
    made = made_up.outcome("agent", "a", 0)
    changing = replace(made, run="agent-a-s0/main@100", interventions=2)
    return [
        changing,
        replace(changing, seed=1, run="agent-a-s1/main@100"),
        replace(made, arm="nothing", run="nothing-a-s0/main@100", interventions=0),
    ]


class Bench:
    """A laboratory that notes which commands it was to start."""

    started: list[tuple[str, ...]]

    def __init__(self, _folder: Path, plan: Plan) -> None:
        self.plan, self.database = plan, self

    @contextmanager
    def read(self) -> Iterator[None]:
        yield

    @contextmanager
    def command(self, *words: str, log: str) -> Iterator[str]:
        Bench.started.append(words)
        yield log

    def wait(self, _process: str, _log: str) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    Bench.started = []
    counted = {"helped": 1, "hurt": 0, "none": 1, "inconclusive": 0, "untried": 0, "authors": {}}
    monkeypatch.setattr(reviews, "Laboratory", Bench)
    monkeypatch.setattr(reviews, "plan_review", lambda *_, **__: [])
    monkeypatch.setattr(reviews.payloads, "review", lambda _: counted)
    return counted


def test_the_first_seed_of_what_changed_something_is_reviewed_by_the_command(
    counts: dict[str, Any], tmp_path: Path
) -> None:
    said: list[tuple[int, int]] = []
    found = reviews.reviewed(PLAN, tmp_path, outcomes(), lambda *given: said.append(given))
    assert [words[:4] for words in Bench.started] == [("review", "agent-a-s0", "--steps", "20")]
    assert ["review" in outcome.facts for outcome in found] == [True, False, False]
    assert said == [(0, 1)]


def test_the_column_counts_the_verdicts(counts: dict[str, Any], tmp_path: Path) -> None:
    agent, other, nothing = reviews.reviewed(PLAN, tmp_path, outcomes(), lambda *_: None)
    header, cell = reviews.column()
    assert header.startswith("helped / hurt")
    assert cell(PLAN, [], [agent, other]) == "1 / 0 / 1 / 0 / 0"
    assert cell(PLAN, [], [nothing]) == "–"
    assert f"seed {min(PLAN.seeds)}: their first 6 changes" in reviews.remark(PLAN)
