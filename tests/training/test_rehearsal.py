"""A stretch that is trained again is compared bit for bit, and nothing else is recorded."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack.core import exactness
from tests.training.homes import Home

EVALUATED = {"eval_strategy": "steps", "eval_steps": 2}
CASES: dict[str, dict[str, Any]] = {
    "plain": {"save_steps": 3},
    "window": {"save_steps": 1, "logging_steps": 3, **EVALUATED},
}


@pytest.mark.parametrize("case", CASES)
def test_every_stretch_is_exact(case: str, home: Home) -> None:
    how = CASES[case]
    home.train(**how)
    made = home.nodes()
    for start, target in zip(made, made[1:], strict=False):
        found = home.rehearse(start, target, **how)
        assert found is not None and found.difference is None, (start.step, target.step)
        assert exactness.words(found) == "certified exact"
