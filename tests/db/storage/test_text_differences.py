"""The unified difference of files."""

from __future__ import annotations

import pytest

from branchtrack.db.storage import text_differences


def test_each_file_that_differs_has_its_lines_and_a_missing_one_is_empty() -> None:
    before, after = (
        {"a.py": "x = 1\ny = 2", "same.py": "z"},
        {"a.py": "x = 2\ny = 2", "same.py": "z"},
    )
    text = text_differences.unified(before, after)
    assert "--- then/a.py\n+++ now/a.py\n" in text and "-x = 1\n+x = 2\n" in text
    assert "same.py" not in text
    added = text_differences.unified({}, {"new.py": "x\n"}, names=("main", "other"))
    assert "+++ other/new.py" in added and "+x" in added
    assert text_differences.unified(before, before) == ""


def test_a_long_difference_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_differences, "LONGEST", 100)
    text = text_differences.unified({}, {"a": "line\n" * 100})
    assert len(text) < 150 and text.endswith("... the rest is not shown\n")
