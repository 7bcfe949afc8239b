"""A live run answers quickly, and its record stays quick to read."""

from __future__ import annotations

import json

import pytest

from tests.benchmarks import bench_change, bench_control


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


@pytest.mark.bench
@pytest.mark.timeout(600)
def test_a_change_costs_what_it_changes_however_deep_the_model(
    capsys: pytest.CaptureFixture[str],
) -> None:
    depths = [bench_change.change_ms(layers) for layers in (12, 24, 48)]
    with capsys.disabled():
        print(f"\n{json.dumps(depths, indent=1)}")
    shallow, _, deep = (depth["beside_the_copy_ms"] for depth in depths)
    # Linear at most: four times the layers.
    assert deep <= max(20, 4 * shallow)
