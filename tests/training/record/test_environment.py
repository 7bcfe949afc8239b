"""A node tells what its bits depend on, and a run the command that starts it again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from branchtrack import scripts
from branchtrack.training.record import environment
from tests.launching.helpers import ROOT
from tests.matrices import some


def test_it_tells_versions_threads_and_device() -> None:
    found = environment.describe()
    assert found["torch"] == torch.__version__ and found["threads"] == torch.get_num_threads()
    assert {"python", "platform", "device", "branchtrack", "transformers", "accelerate"} <= set(
        found
    )


@pytest.mark.parametrize("how", some(["a file", "-c"], "a file"))
def test_it_tells_the_script_as_it_was_when_the_process_began(how: str, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "import pathlib\n"
        "from branchtrack.training.record import environment\n"
        "pathlib.Path(__file__).write_text('edited')\n"
        "print(environment.describe().get('script'))\n"
    )
    before = scripts.digest(script)
    text = script.read_text().replace("pathlib.Path(_", "0 and (_")
    told = subprocess.run(
        [sys.executable, *([str(script)] if how == "a file" else ["-c", text])],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert before is not None and len(before) == 12
    assert told == (before if how == "a file" else "None")
    assert (scripts.digest(script) != before) is (how == "a file")


def test_it_tells_the_commit_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "git" not in environment.describe()
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "init", "-q", "."], check=True)
    subprocess.run(["git", *who, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    assert len(environment.describe()["git"]) == 40


def test_a_machine_without_git_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "git" not in environment.describe()


@pytest.mark.parametrize(
    ("argv", "script"),
    [
        (["python", "train.py", "--lr", "1e-3"], "train.py"),
        (["/usr/bin/python3", "-X", "dev", "-m", "package.train", "a b"], "/p/package/train.py"),
    ],
)
def test_the_command_is_kept_as_it_was_given(
    argv: list[str], script: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "orig_argv", argv)
    monkeypatch.setattr(sys, "argv", [script, *argv[2:]])
    found = environment.entry_point()
    assert found is not None
    assert found["argv"] == [sys.executable, *argv[1:]] and found["cwd"] == str(tmp_path)


def test_variables_that_change_the_maths_are_kept_and_no_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["python", "train.py"])
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("SECRET_TOKEN", "hush")
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    found = environment.entry_point()
    assert found is not None and found["env"]["OMP_NUM_THREADS"] == "3"
    assert "hush" not in str(found) and "PYTHONHASHSEED" not in found["env"]


@pytest.mark.parametrize("script", ["", "-"])
def test_an_interactive_session_cannot_be_started_again(
    script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [script])
    assert environment.entry_point() is None


def test_a_notebook_cannot_be_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    assert environment.entry_point() is None


def test_a_run_without_a_name_is_named_for_its_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    monkeypatch.setattr(sys, "argv", ["/some/where/finetune.py", "x"])
    assert environment.script_name() == "finetune"
    spec = SimpleNamespace(name="package.train.__main__")
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", spec, raising=False)
    assert environment.script_name() == "train"
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None, raising=False)
    monkeypatch.setattr(sys, "argv", [""])
    assert environment.script_name() == "run"


def test_modules_that_are_imported_later_are_recorded_by_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, module = tmp_path / "script.py", tmp_path / "late_module_of_a_test.py"
    script.write_text("")
    module.write_text("SCALE = 1\n")
    main = SimpleNamespace(__file__=str(script))
    monkeypatch.setitem(sys.modules, "__main__", main)
    before = environment.surroundings()
    late = SimpleNamespace(__file__=str(module))
    monkeypatch.setitem(sys.modules, "late_module_of_a_test", late)
    after = environment.with_later_modules(before)
    assert before["modules"].keys() ^ after["modules"].keys() == {module.name}
    module.write_text("SCALE = 3\n")
    assert environment.with_later_modules(after) == after


def test_the_command_is_recorded_without_its_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["python", "train.py", "--api-key", "h1dd3n", "--lr", "3"]
    monkeypatch.setattr("sys.orig_argv", words)
    monkeypatch.setattr("sys.argv", words[1:])
    recorded = environment.entry_point()
    assert recorded is not None
    assert recorded["argv"][1:] == ["train.py", "--api-key", "<redacted>", "--lr", "3"]
