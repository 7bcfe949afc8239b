"""A commit holds training up for little more than a copy of the state takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import bench_snapshot as bench


@pytest.mark.bench
@pytest.mark.timeout(900)
def test_a_commit_stalls_hardly_longer_than_a_copy_and_far_less_than_a_stock_checkpoint(
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = bench.measure(rounds=7)
    bench.write(result, Path("output/bench"))
    with capsys.disabled():
        print(f"\n{bench.table(result)}")
    assert result.stall_to_memcpy <= bench.STALL
    assert result.stock_to_stall >= bench.STOCK
    assert result.memory <= bench.MEMORY
    assert result.counts["syncs"] <= bench.FSYNCS
    assert (result.counts["replace"], result.counts["transactions"]) == (1, 1)
