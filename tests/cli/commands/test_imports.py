"""A stock checkpoint folder is imported from the shell, or refused with nothing changed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.cli.conftest import Call
from tests.training.imports import stock


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stock")
    stock.trained(path, max_steps=8)
    return stock.checkpoint(path, 4)


def test_a_folder_becomes_a_run_that_is_shown_exported_and_verified(
    call: Call, written: Path, tmp_path: Path
) -> None:
    assert "Would import the whole state at step 4" in call("import", str(written), "--dry-run").out
    assert call("runs", "--json").json == []
    imported = call("import", str(written), "--name", "bert", "--json").json
    assert (imported["run"], imported["mode"], imported["step"]) == ("bert", "exact", 4)
    shown = call("show", "bert", "--json").json
    assert shown["message"] == "Imported from checkpoint-4" and shown["kind"] == "root"
    assert call("verify", "--all").code == 0
    assert call("export", "bert", str(tmp_path / "out")).code == 0
    before = torch.load(written / "optimizer.pt", weights_only=True)
    after = torch.load(tmp_path / "out" / "optimizer.pt", weights_only=True)
    assert before["param_groups"] == after["param_groups"]
    for number, entry in before["state"].items():
        assert all(torch.equal(value, after["state"][number][key]) for key, value in entry.items())
    again = call("import", str(tmp_path / "out"), "--name", "again", "--json").json
    assert again["state_digest"] == imported["state_digest"]
    refused = call("resume", "bert")
    assert refused.code != 0 and "trainer.train(resume_from_node=" in refused.err


class Harmful:
    """Unpickled without restrictions, it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


def test_a_harmful_pickle_is_refused_and_its_weights_can_be_imported(
    call: Call, written: Path, tmp_path: Path
) -> None:
    path = Path(shutil.copytree(written, tmp_path / "checkpoint-4"))
    torch.save({"state": Harmful(tmp_path / "ran")}, path / "optimizer.pt")
    refused = call("import", str(path), "--json")
    assert refused.code == 2 and "optimizer.pt is refused" in refused.json["error"]["what"]
    assert call("runs", "--json").json == []
    imported = call("import", str(path), "--weights-only")
    assert imported.code == 0 and 'mode="weights"' in imported.out
    assert "optimizer.pt: only the weights were asked for" in imported.out
    assert not (tmp_path / "ran").exists()
