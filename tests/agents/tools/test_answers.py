"""Answers that fit into a context window."""

from __future__ import annotations

import math

from branchtrack.agents.tools import answers
from branchtrack.schemas.bases import Answer


class _Some(Answer):
    id: str
    note: str = ""
    step: int | None = None


def test_a_list_that_is_cut_says_so() -> None:
    assert answers.cut(range(3), 3, "nodes") == [0, 1, 2]
    shown = answers.cut(iter(range(9)), 3, "nodes")
    assert shown[:3] == [0, 1, 2] and "more nodes" in shown[3]


def test_only_what_was_chosen_and_is_there_is_in_an_answer() -> None:
    assert answers.chosen(_Some(id="a", note="x" * 999), "id", "note", "step") == {
        "id": "a",
        "note": "x" * 300 + "…",
    }


def test_numbers_are_short_and_json_can_spell_them() -> None:
    assert answers.metrics({"loss": 1.23456789, "stall/commit": 1.0}) == {"loss": 1.2346}
    assert answers.plain({"loss": math.nan}) == {"loss": "NaN"}
