"""The arms of the study `live-data`: what their data is, and who brings what when."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from branchtrack.examples.studies import corpora, live_data
from branchtrack.examples.studies.laboratory import Laboratory
from branchtrack.examples.studies.live_data import Users
from branchtrack.examples.studies.outcome import Outcome
from branchtrack.examples.studies.recorded import Training
from branchtrack.examples.studies.study import Arm
from tests.web import seeds

ARMS = {arm.name: arm for arm in live_data.ARMS}


@pytest.fixture
def laboratory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A laboratory that trains nothing, and notes what it was to train."""
    made = Laboratory(tmp_path, live_data.plan(quick=True))
    made.trained = []  # type: ignore[attr-defined]

    def train(task: str, name: str, **options: Any) -> Training:
        made.trained.append({"task": task, "name": name, **options})  # type: ignore[attr-defined]
        return Training(name, "main", 1, options["steps"], 1.0, 0, 0, [], 2.0, 2.0)

    kinds = {case: {"loss": "1.5", "curve": [[0.0, 2.0]]} for case in live_data._KINDS}
    monkeypatch.setattr(made, "train", train)
    monkeypatch.setattr(live_data, "_measured", lambda *_: kinds)
    yield made
    made.close()
    made.database.close()


def trained(arm: Arm, laboratory: Any) -> tuple[Outcome, dict[str, Any], dict[str, list[str]]]:
    outcome = arm.train(laboratory, "", 1)
    folder = laboratory.folder / "data" / f"{arm.name}-s1".replace(" ", "_")
    files = {part.name: sorted(p.name for p in part.iterdir()) for part in folder.iterdir()}
    return outcome, laboratory.trained[-1], files


@pytest.mark.parametrize("arm", live_data.ARMS, ids=lambda arm: arm.name)
def test_every_arm_uses_the_same_updates_and_is_found_by_its_cell(
    arm: Arm, laboratory: Any
) -> None:
    outcome, training, _files = trained(arm, laboratory)
    assert outcome.steps == laboratory.plan.steps == training["steps"]
    cells = [cell.name for cell in live_data.STUDY.cells(laboratory.plan)]
    assert training["name"] in cells


def test_arms_begin_with_the_data_that_they_say(laboratory: Any) -> None:
    old, code = [f"{corpora.DOCUMENTATION}.txt"], ["code-1.txt", "code-2.txt"]
    for name, present in (("never", old), ("arrives", old), ("from the start", code + old)):
        _outcome, training, files = trained(ARMS[name], laboratory)
        assert files["present"] == sorted(present)
        assert ("incoming" in training) == (name == "arrives")


def test_an_outcome_is_shown_for_each_kind_of_text(laboratory: Any) -> None:
    outcome, _training, _files = trained(ARMS["never"], laboratory)
    views = live_data.STUDY.views(outcome)
    assert [view.case for view in views] == list(laboratory.plan.cases)
    assert all(view.loss == 1.5 and view.arm == "never" for view in views)


def until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_users_bring_each_file_once_the_training_is_there(laboratory: Any) -> None:
    for part in ("waiting", "incoming"):
        (laboratory.folder / part).mkdir()
    files = {}
    for step in (10, 20):
        files[step] = laboratory.folder / "waiting" / f"code-{step}.txt"
        files[step].write_text("x")
    store: Any = None
    line = seeds.Grower(laboratory.database, store, "arrives-s0-2").line("main")
    arrived = laboratory.folder / "incoming"
    with Users(laboratory, "arrives-s0", files, None):
        line.step = 9
        line.beat()
        time.sleep(0.3)
        assert not list(arrived.iterdir())
        line.step = 10
        line.beat()
        until(lambda: [path.name for path in arrived.iterdir()] == ["code-10.txt"])
    assert files[20].exists()
