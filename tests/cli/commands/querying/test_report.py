"""`branchtrack report`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from branchtrack.checkpoints.location import open_store
from branchtrack.cli.main import cli
from branchtrack.config import load
from branchtrack.db.schema import open_database
from tests.web import seeds


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a run of one branch."""
    config = load(tmp_path / "home")
    database = open_database(config, create=True)
    line = seeds.Grower(database, open_store(config.store), "digits").line("main", 100)
    line.commit("root", 0)
    line.log("loss", [1, 2, 3], [3.0, 2.0, 1.0])
    line.log("lr", [1, 2, 3], [0.1, 0.1, 0.1])
    line.commit("final", 3, loss=1.0)
    database.close()
    return config.home


def call(home: Path, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["--home", str(home), "report", *arguments])
    return result.exit_code, result.output


def test_a_report_is_written_and_not_over_another_file(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "digits.html"
    code, output = call(home, "digits", str(file), "--json")
    assert code == 0
    assert json.loads(output) == {
        "file": str(file),
        "bytes": file.stat().st_size,
        "run": "digits",
    }
    text = file.read_text()
    assert text.startswith("<!doctype html>") and "digits" in text and "<script" not in text
    code, output = call(home, "digits", str(file))
    assert code == 2 and "--force" in output and file.read_text() == text
    assert call(home, "digits", str(file), "--force", "--metric", "lr")[0] == 0
    assert "loss</text>" not in file.read_text()
    assert [each.name for each in tmp_path.glob(".digits*")] == []


@pytest.mark.parametrize(
    "arguments", [("nope",), ("digits", "--metric", "nope"), ("digits", "--branch", "nope")]
)
def test_what_there_is_not_is_refused_and_nothing_is_written(
    home: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    file = tmp_path / "r.html"
    code, output = call(home, arguments[0], str(file), *arguments[1:])
    assert code == 2 and "nope" in output and not file.exists()
    assert call(home, "digits", str(tmp_path / "none" / "r.html"))[0] == 2


def test_a_link_stays_and_what_it_leads_to_is_replaced(home: Path, tmp_path: Path) -> None:
    target, link = tmp_path / "target.html", tmp_path / "link.html"
    link.symlink_to(target.name)
    assert call(home, "digits", str(link))[0] == 0
    assert link.is_symlink() and "digits" in target.read_text()
    assert call(home, "digits", str(link))[0] == 2
    target.write_text("old")
    assert call(home, "digits", str(link), "--force")[0] == 0
    assert link.is_symlink() and "digits" in target.read_text()


def test_what_is_no_regular_file_is_never_replaced(home: Path, tmp_path: Path) -> None:
    pipe, circle = tmp_path / "pipe", tmp_path / "circle"
    os.mkfifo(pipe)
    circle.symlink_to(circle.name)
    to_pipe = tmp_path / "to-pipe"
    to_pipe.symlink_to(pipe)
    for file in (pipe, circle, to_pipe, tmp_path):
        code, output = call(home, "digits", str(file), "--force")
        assert code == 2 and "FILE" in output
    assert pipe.is_fifo() and circle.is_symlink() and to_pipe.is_symlink()


def test_a_dash_is_the_standard_output(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, output = call(home, "digits", "-")
    assert code == 0 and output.startswith("<!doctype html>") and "digits" in output
    code, output = call(home, "digits", "-", "--json")
    assert code == 2 and "--json" in output
    assert not (tmp_path / "-").exists()
