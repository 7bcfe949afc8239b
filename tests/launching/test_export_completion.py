"""The half of an export that needs torch runs elsewhere, and leaves nothing where it fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from branchtrack.errors import CheckpointMismatch
from branchtrack.launching import export_completion


def test_others_are_asked_only_where_others_open_it() -> None:
    assert export_completion.needs_completion({"loop": {"trainer": {}}})
    assert export_completion.needs_completion({"model_config": {}, "loop": {}})
    assert export_completion.needs_completion({"export": {}})
    assert not export_completion.needs_completion({"loop": {"begun": True}})


def test_what_cannot_be_opened_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    state = {"export": {"unknown": "Strange"}, "loop": {}}
    (tmp_path / "state.json").write_text(json.dumps(state))
    (tmp_path / "base").mkdir()
    with pytest.raises(CheckpointMismatch, match="what Strange needs.*--raw"):
        export_completion.complete(tmp_path, {"step": 1})
    assert not list(tmp_path.iterdir())


def test_a_process_that_says_nothing_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_completion, "_MODULE", "branchtrack.nothing")
    with pytest.raises(CheckpointMismatch, match="No module named"):
        export_completion.complete(tmp_path, {})
