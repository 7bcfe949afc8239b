"""A live run answers quickly, and its record stays quick to read."""

from __future__ import annotations

import json

import pytest

from tests.benchmarks import bench_control


@pytest.mark.bench
@pytest.mark.timeout(1200)
def test_a_run_answers_at_once_and_loses_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    found = bench_control.measure()
    with capsys.disabled():
        print(f"\n{json.dumps(found, indent=1)}")
    assert found["idle_us"] <= 5
    assert found["latency"]["p99_beyond_an_update_ms"] <= 150
    crowd, crowded = found["crowd"], found["crowded"]
    assert crowd["requests"] == 10_000 and crowd["left"] == 0 and crowd["exit_codes"] == [0, 0]
    assert crowd["chain_breaks_at"] is None and crowded["events_read_again"] == crowd["events"]
    assert max(crowded["audit ms"], crowded["page_ms"], crowded["api_ms"]) <= 200
