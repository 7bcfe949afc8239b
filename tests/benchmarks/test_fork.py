"""A fork costs a few rows, however large the model is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import bench_fork as bench


@pytest.mark.bench
def test_a_fork_of_a_large_model_costs_what_one_of_a_small_model_does(
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = bench.measure()
    bench.write(result, Path("output/bench"))
    with capsys.disabled():
        print(f"\n{bench.table(result)}")
    assert result.state_bytes > 270e6
    assert result.median_ms <= bench.RATIO * result.small_ms
    assert result.bytes_each <= bench.BYTES
