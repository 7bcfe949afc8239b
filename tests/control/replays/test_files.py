"""A file that is no recording is refused with its name and the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from branchtrack.control.replays import files
from branchtrack.errors import InvalidInput


def test_a_recording_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "changes.jsonl"
    path.write_text('{"format": "branchtrack-interventions", "version": 1}\n')
    assert files.read(path).changes == ()


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "cannot be read"), (b"\xff\xfe", "it is no text"), (b"{}", "Line 1: format")],
)
def test_what_cannot_be_read_is_refused(content: bytes | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / "changes.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidInput) as caught:
        files.read(path)
    assert words in caught.value.what and str(path) in caught.value.what
    with pytest.raises(InvalidInput):
        files.read(tmp_path)
