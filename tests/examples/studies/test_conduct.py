"""What a study has trained is kept, and what it has not is trained."""

from __future__ import annotations

from concurrent.futures import wait
from pathlib import Path
from typing import Any

import pytest

from branchtrack.examples.studies.conduct import Progress, Results, conduct, digest
from branchtrack.examples.studies.outcome import Outcome, Plan
from branchtrack.examples.studies.study import Arm, Cell, Study
from tests.examples.studies.made_up import outcome, plan, study


class Trained:
    """An arm that notes what it trains, and fails at a name of one."""

    def __init__(self, failing: str = "") -> None:
        self.names: list[str] = []
        self.failing = failing

    def study(self) -> Study:
        arm = Arm("nothing", "it stays", self._train)
        return study([arm])

    def _train(self, _laboratory: Any, case: str, seed: int) -> Outcome:
        name = f"nothing-{case}-s{seed}"
        if name == self.failing:
            raise RuntimeError(name)
        self.names.append(name)
        return outcome("nothing", case, seed)


def conducted(trained: Trained, folder: Path, size: Plan, **more: Any) -> list[Progress]:
    said: list[Progress] = []
    results = conduct(trained.study(), size, folder, said.append, **more)
    assert len(results) == len(list(trained.study().cells(size)))
    return said


def test_all_cells_are_trained_once_and_progress_counts_them(tmp_path: Path) -> None:
    trained = Trained()
    said = conducted(trained, tmp_path, plan())
    assert sorted(trained.names) == sorted(cell.name for cell in trained.study().cells(plan()))
    assert [progress.done for progress in said] == [0, 1, 2, 3, 4]
    assert said[-1].left == 0 and said[0].left is None


def test_an_interrupted_study_goes_on_where_it_was(tmp_path: Path) -> None:
    failing = Trained(failing="nothing-high-s1")
    with pytest.raises(RuntimeError):
        conducted(failing, tmp_path, plan())
    trained = Trained()
    said = conducted(trained, tmp_path, plan())
    assert "nothing-high-s1" in trained.names
    assert said[0].done + len(trained.names) == 4 and said[0].done >= 2


def test_what_ends_together_with_a_failure_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{conduct.__module__}.wait", lambda futures, **_: wait(futures))
    with pytest.raises(RuntimeError):
        conducted(Trained(failing="nothing-low-s0"), tmp_path, plan())
    trained = Trained()
    conducted(trained, tmp_path, plan())
    assert trained.names == ["nothing-low-s0"]


def test_more_seeds_add_to_what_was_trained(tmp_path: Path) -> None:
    conducted(Trained(), tmp_path, plan())
    trained = Trained()
    conducted(trained, tmp_path, plan(seeds=3))
    assert sorted(trained.names) == ["nothing-high-s2", "nothing-low-s2"]


def test_again_trains_everything_anew(tmp_path: Path) -> None:
    conducted(Trained(), tmp_path, plan())
    trained = Trained()
    conducted(trained, tmp_path, plan(), again=True)
    assert len(trained.names) == 4


def test_outcomes_of_another_plan_are_not_used(tmp_path: Path) -> None:
    cell = Cell(study().arms[0], "low", 0)
    Results(tmp_path, plan()).write(cell, outcome("nothing", "low", 0))
    assert Results(tmp_path, plan()).read(cell) == outcome("nothing", "low", 0)
    assert Results(tmp_path, plan(quick=True)).read(cell) is None
    assert digest(plan()) == digest(plan(seeds=7)) != digest(plan(quick=True))


def test_a_damaged_outcome_is_trained_again(tmp_path: Path) -> None:
    cell = Cell(study().arms[0], "low", 0)
    (tmp_path / f"{cell.name}.json").write_text("{", encoding="utf-8")
    assert Results(tmp_path, plan()).read(cell) is None
