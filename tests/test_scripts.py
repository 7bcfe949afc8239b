"""The file behind a recorded command is found as python finds it, and its changes are seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from branchtrack import scripts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("train.py", "pack/__main__.py", "pack/run.py", "more/other.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["train.py", "-m", "x"], "train.py"),
        (["-u", "-X", "dev", "-W", "ignore", "train.py"], "train.py"),
        (["-m", "pack"], "pack/__main__.py"),
        (["-m", "pack.run", "train.py"], "pack/run.py"),
        (["-m", "other"], "more/other.py"),
        (["-m", "platform"], None),
        (["-c", "train.py"], None),
        (["gone.py"], None),
        ([], None),
        (["-m"], None),
    ],
)
def test_the_script_of_a_command_is_found(folder: Path, words: list[str], name: str | None) -> None:
    env = {"PYTHONPATH": "more"}
    found = scripts.script_of({"argv": ["python", *words], "cwd": str(folder), "env": env})
    assert found == (None if name is None else folder / name)


def test_a_change_is_seen_where_both_are_known(folder: Path) -> None:
    command = {"argv": ["python", "train.py"], "cwd": str(folder), "env": {}}
    made = {"script": scripts.digest(folder / "train.py")}
    assert not scripts.has_changed(command, made)
    (folder / "train.py").write_text("another")
    assert scripts.has_changed(command, made)
    assert not scripts.has_changed(command, {})
    assert not scripts.has_changed(None, made)
    (folder / "train.py").unlink()
    assert not scripts.has_changed(command, made)
