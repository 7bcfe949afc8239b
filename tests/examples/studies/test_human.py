"""The arms of the study `human`: rates, recordings, and the names that their runs have."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from branchtrack.control.replays import files
from branchtrack.environment_variables import REPLAY_VARIABLE
from branchtrack.examples.studies import human
from branchtrack.examples.studies.outcome import Outcome
from branchtrack.examples.studies.recorded import Training
from branchtrack.examples.studies.study import Arm

ARMS = {arm.name: arm for arm in human.ARMS}


def trained(arm: Arm, case: str = "size 96", quick: bool = False) -> tuple[Outcome, dict[str, Any]]:
    """What came of an arm in a laboratory that trains nothing, and what it was to train."""
    asked: dict[str, Any] = {}

    def train(task: str, name: str, **options: Any) -> Training:
        asked.update({"task": task, "name": name, **options})
        return Training(name, "main", 1, options["steps"], 1.0, 6, 0, [], 2.0, 2.0)

    laboratory: Any = SimpleNamespace(plan=human.plan(quick), train=train)
    return arm.train(laboratory, case, 1), asked


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("arm", human.ARMS, ids=lambda arm: arm.name)
def test_every_arm_uses_the_same_updates_and_is_found_by_its_cell(arm: Arm, quick: bool) -> None:
    outcome, asked = trained(arm, quick=quick)
    plan = human.plan(quick)
    assert outcome.steps == asked["steps"] == plan.steps and asked["size"] == 96
    assert asked["name"] in [cell.name for cell in human.STUDY.cells(plan)]


def test_only_replays_have_a_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, moments, quick in (
        ("poor schedule", None, False),
        ("known schedule", None, True),
        ("replayed by step", "step", False),
        ("replayed by step", "fraction", True),
        ("replayed by loss", "eval_loss", False),
    ):
        _outcome, asked = trained(ARMS[name], quick=quick)
        expected = str(human.recording(moments)) if moments else None
        assert asked["variables"].get(REPLAY_VARIABLE) == expected


def test_the_recordings_are_of_one_session_and_end_within_the_study() -> None:
    recordings = {m: files.read(human.recording(m)) for m in ("step", "fraction", "eval_loss")}
    lines = {
        moments: [json.loads(line) for line in human.recording(moments).read_text().splitlines()]
        for moments in recordings
    }
    values = {m: [line.get("values") for line in rows] for m, rows in lines.items()}
    assert values["step"] == values["fraction"] == values["eval_loss"]
    plan = human.plan(False)
    assert [row["at"]["step"] for row in lines["step"][1:]][-1] < plan.steps
    assert lines["step"][0]["settings"]["seed"] not in plan.seeds
    assert lines["step"][0]["settings"]["lr"] == human._POOR
