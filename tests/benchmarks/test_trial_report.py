"""What was measured becomes rates, effects, tables and a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks import trial_report


def made_up() -> dict[str, Any]:
    """Measurements of one node and one task: a change that helps, one that does nothing much."""
    chance = np.random.default_rng(2)

    def end(value: float) -> dict[str, Any]:
        return {"value": value, "digest": str(value)}

    def noise(scale: float = 0.1) -> float:
        return scale * float(chance.standard_normal())

    trials = [[[end(2 + noise()) for _ in (0, 1)] for _ in range(8)] for _ in range(12)]
    shared = [2 + noise() for _ in range(17)]
    node = {
        "task": "digits",
        "seconds": 0.1,
        "trials": trials,
        "same": [[end(1.0)] * 2],
        "plain": [end(2.0), {"value": 2.0, "digest": ""}],
    }
    forks = [[end(s), end(s - 0.5 + noise(0.01)), end(s + noise())] for s in shared]
    scratch = [[2 + noise(), 1.5 + noise(), 2 + noise()] for _ in range(20)]
    size = {"changes": {"better": {}, "nothing": {}}, "repeats": 8}
    return {
        "size": size,
        "none": [node],
        "effects": {"digits": {"forks": forks, "scratch": scratch}},
    }


def test_rates_are_of_all_trials_and_of_those_paired_anew() -> None:
    rates = trial_report.false_rates(made_up())
    assert (rates["margin 0"].all, rates["margin 0, paired anew"].all) == (12, 2000)
    assert rates["margin 0, paired anew"].share < 0.1
    assert 0.035 < rates["normal noise"].share < 0.055
    assert rates["one run is lower"].all == 12 and 2 <= rates["one run is lower"].count <= 10


def test_a_trial_paired_anew_uses_no_end_twice() -> None:
    trials = [trial_report.ends(trial) for trial in made_up()["none"][0]["trials"]]
    (first, second) = trial_report.anew(trials, 2, 1)
    assert len({end for row in first for end in row}) == 16 and first != second
    assert trial_report.anew(trials, 2, 1)[0] == first


def test_effects_have_the_truth_the_verdict_and_the_runs_needed() -> None:
    better, nothing = trial_report.effects_of(made_up())
    assert (better.verdict.verdict, better.agreement) == ("helps", "agrees")
    assert better.further == ("agrees",)
    assert better.independent == ("agrees", "agrees")
    assert better.runs.ratio > 50 > nothing.runs.ratio


def test_tables_and_the_picture_are_written(tmp_path: Path) -> None:
    text = trial_report.write(made_up(), tmp_path)
    count = trial_report.false_rates(made_up())["margin 0"].count
    assert f"| margin 0 | {count} of 12 | {count} of 12 |" in text
    assert "| digits | better | -0." in text and "| digits | 2 | 0 | 1 | 100 |" in text
    picture = (tmp_path / "trials.svg").read_text()
    assert picture == (trial_report.write(made_up(), tmp_path) and picture)
    assert "better" in picture and (tmp_path / "trials.json").exists()
