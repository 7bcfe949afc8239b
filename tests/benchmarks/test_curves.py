"""A curve costs what is shown of it, not what was logged."""

from __future__ import annotations

import pytest

from tests.benchmarks import bench_curves
from tests.benchmarks.bench_pages import table


@pytest.mark.bench
@pytest.mark.timeout(900)
def test_a_million_points_cost_little_more_than_the_screen(
    capsys: pytest.CaptureFixture[str],
) -> None:
    costs = bench_curves.measure(1_000_000, rounds=5)
    with capsys.disabled():
        print(f"\n{table(costs)}")
    short, whole, zoomed, _compare = costs.values()
    assert whole.cpu_ms <= 3 * short.cpu_ms
    assert zoomed.cpu_ms <= short.cpu_ms
