"""The file behind a recorded command is found as python finds it, and its changes are seen."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from branchtrack import scripts
from branchtrack.errors import InvalidInput


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


def moved(tmp_path: Path, **more: object) -> dict[str, object]:
    """The command of a project that was moved with its home from ``old`` to ``new``."""
    new = tmp_path / "new"
    (new / ".branchtrack").mkdir(parents=True)
    (new / "train.py").write_text("here")
    old = str(tmp_path / "old")
    argv = [f"{old}/.venv/bin/python", "train.py", f"--data={old}/x", f"{old}/config", f"{old}er"]
    return {
        "argv": argv,
        "cwd": old,
        "env": {"PYTHONPATH": f"{old}/lib:/else"},
        "from_home": "..",
        **more,
    }


def test_a_project_that_was_moved_with_its_home_is_found(tmp_path: Path) -> None:
    command, new = moved(tmp_path), str(tmp_path / "new")
    found = scripts.relocated(command, tmp_path / "new" / ".branchtrack")
    assert found is not None and found["cwd"] == new
    assert found["argv"][0] == f"{new}/.venv/bin/python" and found["argv"][3] == f"{new}/config"
    # Only whole paths are taken along: what an argument means otherwise is the script's.
    assert found["argv"][2].endswith("old/x") and found["argv"][4].endswith("older")
    assert found["env"] == {"PYTHONPATH": f"{new}/lib:/else"}


def test_a_project_is_not_looked_for_where_it_is_not_known_to_lie(tmp_path: Path) -> None:
    command = moved(tmp_path)
    home = tmp_path / "new" / ".branchtrack"
    assert scripts.relocated({**command, "from_home": None}, home) == {**command, "from_home": None}
    assert scripts.relocated(command, tmp_path / "copied" / "home") == command
    assert scripts.relocated(None, home) is None
    (tmp_path / "new" / "train.py").unlink()
    assert scripts.relocated(command, home) == command
    (tmp_path / "new" / "train.py").write_text("here")
    (tmp_path / "old").mkdir()
    assert scripts.relocated(command, home) == command


def test_a_script_that_lies_elsewhere_is_not_that_of_any_folder(tmp_path: Path) -> None:
    command = moved(tmp_path)
    elsewhere = tmp_path / "elsewhere.py"
    elsewhere.write_text("not it")
    command["argv"] = ["python", str(elsewhere)]
    assert scripts.relocated(command, tmp_path / "new" / ".branchtrack") == command


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["python", "-u", "old.py", "--lr", "1"], ["python", "-u", "SCRIPT", "--lr", "1"]),
        (["python", "-X", "dev", "-m", "pack.run", "a"], ["python", "-X", "dev", "SCRIPT", "a"]),
        (["python", "-c", "print(1)", "a"], ["python", "SCRIPT", "a"]),
        ([], [sys.executable, "SCRIPT"]),
    ],
)
def test_another_script_takes_the_place_of_the_recorded_one(
    folder: Path, argv: list[str], expected: list[str]
) -> None:
    script = str(folder / "train.py")
    found = scripts.replaced({"argv": argv, "cwd": "/no/such"}, script, None)
    assert found["argv"] == [script if word == "SCRIPT" else word for word in expected]
    assert found["cwd"] == str(folder)
    assert scripts.replaced({"argv": argv}, script, "/")["cwd"] == "/"
    assert scripts.replaced(None, None, "/")["cwd"] == "/"


def test_a_script_or_a_folder_that_is_not_there_is_refused(folder: Path) -> None:
    with pytest.raises(InvalidInput, match="script"):
        scripts.replaced({}, str(folder / "gone.py"), None)
    with pytest.raises(InvalidInput, match="cwd"):
        scripts.replaced({}, None, str(folder / "gone"))
