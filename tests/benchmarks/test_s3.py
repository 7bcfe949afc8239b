"""Packs in a bucket hold training up no longer than packs in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import bench_s3 as bench


@pytest.mark.bench
@pytest.mark.timeout(900)
def test_a_commit_stalls_no_longer_with_a_bucket(capsys: pytest.CaptureFixture[str]) -> None:
    result = bench.measure(rounds=9, megabytes=64)
    target = Path("output/bench")
    target.mkdir(parents=True, exist_ok=True)
    (target / "s3.md").write_text(bench.as_text(result))
    with capsys.disabled():
        print(f"\n{bench.as_text(result)}")
    assert result.stall_ratio <= bench.STALL
