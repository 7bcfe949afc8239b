"""The loop: what is kept, what is discarded, and that nothing is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from branchtrack.examples.autoresearch.loop import _BUDGET, Experiment, Laboratory, investigate
from branchtrack.examples.autoresearch.proposals import IDEAS, Edit, Proposal, ScriptedAgent


class Pretended(Laboratory):
    """A laboratory whose shell answers as each experiment is to end, and trains nothing."""

    def __init__(self, folder: Path, ends: dict[str, tuple[str, int, float]]) -> None:
        super().__init__(folder)
        self.ends, self.calls = ends, list[tuple[str, ...]]()
        self._noted(Experiment("main", "baseline", "keep", "step 0", 2.0))

    def _call(self, *arguments: str) -> dict[str, Any]:
        self.calls.append(arguments)
        if arguments[0] == "tree":
            branches = [
                {"name": name, "status": end[0], "step": end[1]} for name, end in self.ends.items()
            ]
            return {"branches": branches}
        if arguments[0] == "show":
            end = self.ends[arguments[1].partition("/")[2]]
            return {"id": "abcd1234", "metrics": {"eval_loss": end[2]}}
        return {"error": {"what": "It is refused."}}


@pytest.mark.parametrize(
    ("end", "verdict"),
    [
        (("finished", 200, 1.9), "keep"),
        (("finished", 200, 1.9995), "discard"),
        (("finished", 300, 1.0), "failed"),
        (("failed", 150, 1.0), "failed"),
    ],
)
def test_an_experiment_is_judged_by_its_loss(
    tmp_path: Path, end: tuple[str, int, float], verdict: str
) -> None:
    laboratory = Pretended(tmp_path, {"exp-1": end})
    before = laboratory.script
    experiment = laboratory.experiment(IDEAS[0])
    assert experiment.verdict == verdict
    assert (laboratory.script != before) is (verdict == "keep")
    assert (("tag", "abcd1234", verdict) in laboratory.calls) is bool(experiment.node)
    assert "smoothing=0.05" in (tmp_path / "exp-1" / "change.diff").read_text()


def test_a_script_that_does_not_fit_begins_with_the_weights(tmp_path: Path) -> None:
    laboratory = Pretended(tmp_path, {})
    assert laboratory.experiment(IDEAS[3]).verdict == "refused"
    resumes = [call for call in laboratory.calls if call[0] == "resume"]
    modes = [call[call.index("--mode") + 1] for call in resumes]
    assert modes == ["exact", "weights"]
    assert ", 100, 100" in (tmp_path / "exp-1" / "train.py").read_text()
    assert "It is refused." in laboratory.table


def test_the_budget_is_not_an_experiments_to_change(tmp_path: Path) -> None:
    laboratory = Pretended(tmp_path, {})
    longer = Proposal("more steps", [Edit(_BUDGET, _BUDGET.replace("200", "2000"))])
    assert laboratory.experiment(longer).verdict == "refused"
    assert laboratory.experiment(Proposal("no", [Edit("nothing", "")])).verdict == "refused"
    assert [call for call in laboratory.calls if call[0] == "resume"] == []


@pytest.mark.scenario
def test_a_whole_investigation_keeps_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    laboratory = Laboratory(tmp_path)
    investigate(laboratory, ScriptedAgent(), 3)
    verdicts = {each.name: each.verdict for each in laboratory.experiments}
    assert verdicts["main"] == "keep" and verdicts["exp-2"] == "failed"
    assert laboratory.experiments[3].mode == "weights"
    (failed,) = laboratory._call("find", "failed:yes")["items"]
    assert failed["branch"] == "exp-2" and failed["step"] == 100
    finals = laboratory._call("find", "kind:final")["items"]
    assert {node["step"] for node in finals} == {200}
