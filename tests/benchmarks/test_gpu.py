"""The script of `make gpu` works where there is no GPU, too, and says so."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from tests.benchmarks import gpu


def test_it_says_plainly_that_there_is_no_cuda(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu", "--to", str(tmp_path / "out")])
    gpu.main()
    assert capsys.readouterr().out == f"{gpu.NO_CUDA}\n" and not (tmp_path / "out").exists()


def test_the_script_itself_finds_what_it_is_to_find() -> None:
    results = gpu.measure("cpu", "tiny")
    for resume in results["resumes"]:
        assert resume["resumed from the middle"]["differ"] == 0
        assert resume["again from the start"]["differ"] == 0
        assert resume["guard, nothing changed"] == "equal"
        assert resume["guard, other data"] == "differs"
    sharded = results["several processes"]
    assert sharded["resumed to the same digest"] and sharded["first update"] == "equal"
    assert (sharded["ranks"], sharded["packs"] > 1) == (2, True)
    assert all(results["generators"].values()) and results["stall"]["megabytes"] > 0
