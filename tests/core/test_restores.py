"""What is said of a restore."""

from __future__ import annotations

from typing import Any

import pytest

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


def test_parts_that_were_replaced_stand_beside_those_restored() -> None:
    found = restores.restored_parts(False, {"lr": 1})
    assert found["lr"] == "replaced" and "scheduler" not in found
    assert {found[name] for name in ("weights", "optimizer", "rng", "counters")} == {"restored"}


@pytest.mark.parametrize(
    ("changed", "scheduler", "rng"),
    [
        ({"lr": 1}, "restored", "restored"),
        ({"lr_scheduler_type": "linear"}, "replaced", "restored"),
        ({"max_steps": 9, "horizon": "extend"}, "replaced", "restored"),
        ({"scheduler": "script"}, "replaced", "restored"),
        ({"scheduler": "node", "seed": 3}, "restored", "replaced"),
        ({"reshuffle": True}, "restored", "replaced"),
        ({"reshuffle": False, "stop_at": 9}, "restored", "restored"),
    ],
)
def test_a_part_that_a_change_takes_the_place_of_is_not_said_to_be_restored(
    changed: dict[str, Any], scheduler: str, rng: str
) -> None:
    found = restores.restored_parts(True, changed)
    assert (found["scheduler"], found["rng"]) == (scheduler, rng)
    assert "horizon" not in found and found.get("seed") == (
        "replaced" if "seed" in changed else None
    )
