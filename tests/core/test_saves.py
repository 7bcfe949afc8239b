"""Saves that were due are counted over the segments of a branch, and said where any was missed."""

from __future__ import annotations

import pytest

from branchtrack.core import saves


def test_segments_are_counted_together() -> None:
    first = {"due": 3, "made": 2, "missed": [20]}
    assert saves.summed([first, None, {"due": 1, "made": 0, "missed": [10]}]) == {
        "due": 4,
        "made": 2,
        "missed": [10, 20],
    }
    assert saves.summed([None, None]) is None


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (None, ""),
        ({"due": 3, "made": 2, "missed": []}, ""),
        ({"due": 3, "made": 2, "missed": [7]}, "1 of 3 saves was not made"),
        ({"due": 40, "made": 37, "missed": [7, 8, 9]}, "3 of 40 saves were not made"),
    ],
)
def test_only_what_was_missed_is_said(count: dict[str, object] | None, words: str) -> None:
    assert saves.words(count) == words
