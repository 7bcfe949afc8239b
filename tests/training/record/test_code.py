"""What runs in a process is read once, with git's help where there is git, and recorded."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.db import integrity, segments
from branchtrack.db.engine import Database
from branchtrack.db.storage import texts
from branchtrack.environment_variables import DIFF_VARIABLE
from branchtrack.training.record import code
from tests.trees_for_tests import make_forked_tree


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one file, which is changed, and one that git does not know."""
    monkeypatch.chdir(tmp_path)
    for command in (
        ["init", "-q", "-b", "trunk"],
        ["config", "user.email", "a@example.org"],
        ["config", "user.name", "a"],
    ):
        subprocess.run(["git", *command], check=True)
    (tmp_path / "train.py").write_text("lr = 1\n")
    subprocess.run(["git", "add", "."], check=True)
    subprocess.run(["git", "commit", "-q", "-m", "first"], check=True)
    (tmp_path / "train.py").write_text("lr = 2\n")
    (tmp_path / "new.py").write_text("")
    return tmp_path


def test_the_commit_the_difference_and_untracked_files_are_read(repository: Path) -> None:
    found = code.read()
    assert len(found.facts["commit"]) == 40 and found.facts["branch"] == "trunk"
    assert "-lr = 1\n+lr = 2\n" in found.texts["diff"]
    assert (found.facts["untracked"], found.facts["untracked_count"]) == (["new.py"], 1)
    assert found.facts["diff_bytes"] == len(found.texts["diff"]) and not found.facts["diff_cut"]


def test_a_large_difference_is_cut_and_says_so(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code, "LONGEST_DIFF", 20)
    found = code.read()
    assert len(found.texts["diff"]) == 20 and found.facts["diff_cut"]


def test_the_difference_can_be_left_out(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DIFF_VARIABLE, "0")
    found = code.read()
    assert "diff" not in found.texts and found.facts["diff_bytes"] is None


def test_nothing_that_the_repository_configures_is_run(repository: Path) -> None:
    bad = f'{sys.executable} -c \'open("ran", "w")\''
    for name in ("core.fsmonitor", "diff.external", "core.pager"):
        subprocess.run(["git", "config", name, bad], check=True)
    code.read()
    assert not (repository / "ran").exists()


def test_outside_of_a_repository_the_rest_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORX_RUN_ID", "7")
    found = code.read()
    assert "commit" not in found.facts and "diff" not in found.texts
    assert found.facts["cwd"] == str(tmp_path) and found.facts["jobs"] == {"ORX_RUN_ID": "7"}
    assert "torch" in found.facts["imported"] and "pytest" in found.texts["packages"]


def test_it_is_recorded_with_the_texts_that_it_names(database: Database, store: Store) -> None:
    tree, made = make_forked_tree(database, store)
    read = code.Code({"cwd": "/x"}, {"diff": "d", "packages": "p==1", "sources/a.py": "a = 1\n"})
    with database.transaction() as connection:
        code.record(connection, tree.segment("main").id, read)
    with database.read() as connection:
        recorded = segments.code_before(connection, made[3].id)
        assert recorded is not None and recorded["cwd"] == "/x"
        assert texts.get(connection, recorded["diff"]) == "d"
        assert texts.get(connection, recorded["sources"]["a.py"]) == "a = 1\n"
        assert integrity.of_database(connection) == []


def test_who_waits_for_a_reading_is_called_once_it_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go, calls = threading.Event(), list[int]()
    empty = code.Code({}, {})

    def slowly() -> code.Code:
        go.wait(60)
        return empty

    monkeypatch.setattr(code, "read", slowly)
    reading = code.Reading()
    reading.when_over(lambda: calls.append(1))
    reading.start()
    assert calls == []
    go.set()
    reading.join(60)
    reading.when_over(lambda: calls.append(2))
    assert calls == [1, 2] and reading.code is empty


def test_a_reading_that_fails_is_no_trouble(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> code.Code:
        raise RuntimeError("no disk")

    monkeypatch.setattr(code, "read", fail)
    reading = code.Reading()
    reading.start()
    reading.join(60)
    assert reading.code is None and "no disk" in caplog.text
