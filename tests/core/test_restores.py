"""What is said of a restore."""

from __future__ import annotations

from typing import Any

from branchtrack.core import restores

DIFFERENT: dict[str, Any] = {
    "state": "differs",
    "batch": "differs",
    "loss": "differs",
    "step": 5,
    "differences": [
        {"name": "batch", "expected": "a" * 64, "found": None},
        {"name": "loss", "expected": [(0.5).hex()], "found": [(0.25).hex(), (1.0).hex()]},
        {"name": "trainer.tokens", "expected": 3, "found": 0},
    ],
}


def test_each_difference_is_told_with_both_values() -> None:
    said = restores.sentence(DIFFERENT)
    assert f"batch None, expected {'a' * 12};" in said
    assert "loss 0.25, 1, expected 0.5;" in said
    assert said.endswith("trainer.tokens 0, expected 3.")


def test_what_was_compared_is_named() -> None:
    equal = {"state": "equal", "batch": "equal", "loss": "equal", "differences": []}
    assert "batch and the loss" in restores.sentence(equal)
    assert "the loss of" in restores.sentence({**equal, "batch": "unknown"})
    assert "declared change" in restores.sentence({**equal, "state": "explained"})
    assert "not known" in restores.sentence({**equal, "state": "unknown", "loss": "unknown"})
