"""Progress is drawn where a person watches, on standard error, and nowhere else."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from branchtrack.cli import progress
from branchtrack.config import Config
from branchtrack.core.records import Node
from tests.cli.conftest import Call
from tests.launching.helpers import environment
from tests.trees_for_tests import Tree


def test_nothing_is_drawn_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.bar("Working") as update:
        update(1, 2, "of 2")
    assert capsys.readouterr() == ("", "")


def test_a_bar_goes_to_standard_error_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "is_terminal", lambda: True)
    with progress.bar("Working", stay=True) as update:
        update(1, None, "")
        update(2, 2, "of 2 nodes")
    out, err = capsys.readouterr()
    assert out == ""
    assert "Working" in err and "of 2 nodes" in err


def test_a_terminal_sees_the_bar_and_a_pipe_only_the_json(
    call: Call, forked: tuple[Tree, list[Node]], sqlite_config: Config
) -> None:
    reader, writer = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "branchtrack", "verify", "--all", "--json"],
        env={**environment(sqlite_config), "TERM": "xterm"},
        stdout=subprocess.PIPE,
        stderr=writer,
        text=True,
    )
    os.close(writer)
    with process:
        assert process.stdout is not None
        out = process.stdout.read()
        drawn = b""
        try:
            while part := os.read(reader, 4096):
                drawn += part
        except OSError:
            # Linux says so when the other end of a terminal is closed.
            assert drawn
    os.close(reader)
    assert b"Verifying" in drawn
    assert out.startswith("[") and out.endswith("]\n")
