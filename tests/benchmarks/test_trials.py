"""Trials of nothing seldom get a verdict, and verdicts on changes are not against the truth."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import bench_trials as bench
from tests.benchmarks import trial_report
from tests.benchmarks.trial_verdicts import CONTRADICTS, ERROR


@pytest.mark.bench
@pytest.mark.timeout(900)
def test_verdicts_of_trials_are_seldom_false(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = bench.measure(bench.QUICK, tmp_path)
    with capsys.disabled():
        print(f"\n{trial_report.write(measured, tmp_path)}")
    rates = trial_report.false_rates(measured)
    assert rates["margin 0"].interval[0] <= ERROR
    # Two standard errors of 2,000 trials.
    assert rates["margin 0, paired anew"].share <= ERROR + 0.01
    for node in measured["none"]:
        assert all(first == second for first, second in [*node["same"], node["plain"]])
    effects = trial_report.effects_of(measured)
    assert all(effect.agreement != CONTRADICTS for effect in effects)
