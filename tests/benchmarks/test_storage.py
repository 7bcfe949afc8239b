"""Commands on a tree of 10,000 nodes answer within a second."""

from __future__ import annotations

import pytest

from tests.benchmarks import bench_storage


@pytest.mark.bench
@pytest.mark.timeout(600)
def test_a_tree_of_ten_thousand_nodes_is_looked_at_within_a_second(
    capsys: pytest.CaptureFixture[str],
) -> None:
    seconds = bench_storage.measure(nodes=10_000, deep=500, rounds=3)
    with capsys.disabled():
        print(f"\n{bench_storage.table(seconds)}")
    # Drawing 10,000 lines takes longer than reading the tree.
    assert max(value for name, value in seconds.items() if name != "tree") < 1.0
