"""A page costs what it shows, not what the tree has."""

from __future__ import annotations

import pytest

from tests.benchmarks import bench_pages


@pytest.mark.bench
@pytest.mark.timeout(900)
def test_ten_times_the_nodes_cost_a_page_at_most_three_times_as_much(
    capsys: pytest.CaptureFixture[str],
) -> None:
    small = bench_pages.measure(branches=8, nodes=30, steps=2000, rounds=5, trials=100)
    large = bench_pages.measure(branches=8, nodes=300, steps=2000, rounds=5, trials=400)
    with capsys.disabled():
        print(f"\n{bench_pages.table(small)}\n\n{bench_pages.table(large)}")
    for name, cost in large.items():
        assert cost.cpu_ms <= 3 * small[name].cpu_ms, name
        assert cost.size <= 2 * small[name].size, name
    # What is read to find that nothing has changed is most of what a page costs by now.
    assert large["live, unchanged"].cpu_ms <= large["tree"].cpu_ms * 3 / 4
    assert large["live, unchanged"].size <= large["tree"].size / 10
