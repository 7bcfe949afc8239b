"""The process that imports answers with what it did, or with an error; it prints no more."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from branchtrack.config import Config
from branchtrack.training.imports import process
from tests.training.imports import stock


def ask(config: Config, path: Path, **changed: Any) -> dict[str, Any]:
    return {
        "folder": str(path),
        "name": None,
        "weights_only": False,
        "dry_run": False,
        "home": str(config.home),
        "database_url": config.database_url,
        "actor": "ann",
        **changed,
    }


def test_a_run_is_named_after_the_folder_of_its_training(tmp_path: Path) -> None:
    assert process.run_name(tmp_path / "bert" / "checkpoint-500") == "bert"
    assert process.run_name(tmp_path / "bert") == "bert"
    assert process.run_name(Path("/")) == "run"


def test_what_would_be_imported_is_what_is(config: Config, tmp_path: Path) -> None:
    stock.trained(tmp_path, max_steps=4)
    path = stock.checkpoint(tmp_path, 4)
    planned = process.answer(ask(config, path, dry_run=True))
    done = process.answer(ask(config, path))
    assert planned["node"] is None and len(done["node"]) == 16
    same = ("run", "step", "mode", "tensors", "bytes", "settings", "points", "left_out")
    assert {name: planned[name] for name in same} == {name: done[name] for name in same}
    assert (done["run"], done["mode"], done["step"]) == ("output", "exact", 4)
    assert process.answer(ask(config, path, name="mine"))["run"] == "mine"


def test_an_error_is_an_answer(
    sqlite_config: Config,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    request = json.dumps(ask(sqlite_config, tmp_path))
    monkeypatch.setattr(sys, "stdin", io.StringIO(request))
    assert process.main() == 1
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["type"] == "InvalidInput" and "has no weights" in error["what"]
