"""A launched process that is refused says why, and shows no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("error", "launch", "is_plain"),
    [
        ("NotLive('Nothing trains.', fix='Wait.')", "ab12", True),
        ("NotLive('Nothing trains.', fix='Wait.')", "", False),
        ("ValueError('Nothing trains.')", "ab12", False),
    ],
)
def test_a_refusal_of_a_launched_process_is_printed_in_words(
    tmp_path: Path, error: str, launch: str, is_plain: bool
) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        f"from branchtrack.errors import NotLive\nfrom branchtrack.training import ordinals\n"
        f"ordinals.this_process()\nraise {error}\n"
    )
    environment = {**os.environ, **({"BRANCHTRACK_LAUNCH": launch} if launch else {})}
    done = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1 and "Nothing trains." in done.stderr
    assert ("Traceback" not in done.stderr) is is_plain
    if is_plain:
        assert done.stderr == (f"branchtrack refused: Nothing trains.\nWait.\n({script}, line 4)\n")
