"""A tree's life among kill -9 and SIGTERM, in short; the whole is a program of `benchmarks`."""

from __future__ import annotations

import pytest

from tests.benchmarks import life_of_a_tree


@pytest.mark.scenario
def test_nothing_that_is_listed_is_lost_and_nothing_is_stuck(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert life_of_a_tree.main(["--kills", "4", "--terms", "4"]) == 0, capsys.readouterr().out
