"""branchtrack costs a training less than two per cent of its time."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from tests.benchmarks import bench_overhead


@pytest.mark.bench
@pytest.mark.timeout(900)
def test_a_recorded_training_takes_at_most_two_per_cent_longer(
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = bench_overhead.measure(rounds=7, steps=15, updates=1200)
    with capsys.disabled():
        print(f"\n{bench_overhead.table(result)}\n{json.dumps(asdict(result))}")
    assert result.recorder <= bench_overhead.BUDGET
    assert result.within <= bench_overhead.BUDGET
    assert result.wall <= bench_overhead.BUDGET + result.noise
    assert result.idle_us < 100
