"""Fifty trainers on one PostgreSQL answer quickly, and nothing of theirs is lost."""

from __future__ import annotations

import json

import pytest

from tests.benchmarks import bench_team


@pytest.mark.bench
@pytest.mark.timeout(1800)
def test_fifty_trainers_answer_at_once_and_lose_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = bench_team.measure()
    with capsys.disabled():
        print(f"\n{json.dumps(found, indent=1)}")
    assert found["all_live"] and found["exit_codes"] == {0: 52} and found["refused"] == []
    assert set(found["states"]) <= {"verified", "done", "superseded"}
    assert found["points_lost"] == 0 and found["nodes_broken"] == 0 and found["problems"] == []
    assert found["deadlocks"] == 0 and found["p99_beyond_an_update_ms"] <= 150
