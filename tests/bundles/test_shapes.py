"""Values that branchtrack would not write into a row are refused before they are in a home."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack.bundles import shapes

RUN: dict[str, Any] = {
    "id": "a" * 16,
    "name": "demo",
    "default_branch": "main",
    "entry_point": '{"argv": ["python", "train.py"], "cwd": "/x", "env": {}}',
    "tags": '["good"]',
    "notes": "fine",
    "created_at": 1.0,
    "updated_at": 2.0,
}
SEGMENT: dict[str, Any] = {
    "status": "finished",
    "step": 5,
    "position": 0,
    "declared": "[]",
    "settings": "{}",
    "offers": "{}",
    "started_at": 1.0,
}


def test_what_branchtrack_writes_has_no_fault() -> None:
    assert shapes.fault("runs", RUN) == ""
    assert shapes.fault("segments", SEGMENT) == ""
    assert shapes.fault("runs", {**RUN, "entry_point": "null"}) == ""


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("tags", '"5"', "tags is not of the form"),
        ("entry_point", '{"argv": "x"}', "entry_point is not of the form"),
        ("name", "../../x", "name is no valid name"),
        ("created_at", 1e300, "created_at is no time"),
        ("updated_at", float("nan"), "updated_at is no time"),
        ("notes", "a\x00b", "character that no database can hold"),
    ],
)
def test_other_values_of_a_run_are_refused(column: str, value: Any, words: str) -> None:
    assert words in shapes.fault("runs", {**RUN, column: value})


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("declared", "[1, 2]", "declared is not of the form"),
        ("declared", '[{"title": "lr"}]', "declared is not of the form"),
        ("settings", "[]", "settings is not of the form"),
        ("status", "zzz", "status is none that it can have"),
        ("step", -5, "step is negative"),
    ],
)
def test_other_values_of_a_segment_are_refused(column: str, value: Any, words: str) -> None:
    assert words in shapes.fault("segments", {**SEGMENT, column: value})
