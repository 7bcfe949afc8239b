"""How values look in a terminal."""

from __future__ import annotations

from branchtrack.cli import output


def test_a_schedule_for_another_length_is_told_in_words() -> None:
    recipe = {"steps": 24, "path": [[5, 5], [40, 24]]}
    words = "made for 24 updates, its 5 to 24 spread over updates 5 to 40"
    assert output.number(recipe) == words
    read = output.pairs({"step": 6, "schedule": recipe, "groups": {"lr": 0.01}})
    assert read == f"step 6, schedule {words}, lr 0.01"
