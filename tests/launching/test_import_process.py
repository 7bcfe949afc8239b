"""An import runs in a process that may load torch; what it answers is what happened."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from branchtrack.config import Config
from branchtrack.errors import BranchtrackError, InvalidInput, StorageError
from branchtrack.launching import import_process


def run(config: Config, folder: Path) -> dict[str, Any]:
    return import_process.run(
        config, folder, name=None, weights_only=False, dry_run=False, actor="ann"
    )


def answers(monkeypatch: pytest.MonkeyPatch, stdout: str, code: int = 0, stderr: str = "") -> None:
    done = SimpleNamespace(stdout=stdout, stderr=stderr, returncode=code)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)


def test_bad_input_is_bad_input_here_too(sqlite_config: Config, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="has no weights") as refused:
        run(sqlite_config, tmp_path)
    assert refused.value.field == "folder" and refused.value.value == str(tmp_path)


def test_another_error_keeps_its_kind_and_words(
    sqlite_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(
        monkeypatch,
        'loading\n{"error": {"type": "StorageError", "what": "Full.", "safe": "s", "fix": "f", '
        '"field": null, "facts": {"path": "/disk"}}}',
        1,
    )
    with pytest.raises(StorageError, match="Full. s f") as refused:
        run(sqlite_config, Path())
    assert refused.value.facts == {"path": "/disk"}


@pytest.mark.parametrize("stdout", ["", "loading", "[]", "{}"])
def test_a_process_that_says_nothing_is_no_success(
    stdout: str, sqlite_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, stdout, -9, "Killed")
    with pytest.raises(BranchtrackError, match="ended with code -9: Killed"):
        run(sqlite_config, Path())
