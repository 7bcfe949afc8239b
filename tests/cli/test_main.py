"""Errors become exit codes and messages; nothing heavy is loaded for a light command."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from branchtrack.cli.main import COMMANDS, cli
from branchtrack.config import Config
from branchtrack.core.records import Node
from tests.cli.conftest import Call
from tests.trees_for_tests import Tree

Forked = tuple[Tree, list[Node]]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["tree", "dmo"], "Did you mean: demo"),
        (["show", "ffffffff"], "branchtrack tree"),
        (["curve", "demo/main", "los"], "loss"),
        (["diff", "demo/main", "demo/none"], "demo/cooler"),
        (["set", "demo", "lr=nan"], "greater than 0"),
        (["set", "demo", "lr=-1"], "greater than 0"),
        (["set", "demo", "lr=abc"], "greater than 0"),
        (["set", "demo", "lr"], "name=value"),
        (["set", "demo", "speed=1"], "lr, max_grad_norm, weight_decay"),
        (["set", "demo", "lr=1", "--timeout", "-5"], "above 0"),
        (["set", "demo", "lr=1", "--timeout", "nan"], "above 0"),
        (["tree", "de\udcffmo"], "no run"),
        (["resume", "demo/main", "--set", "lr=inf"], "greater than 0"),
        (["resume", "demo/main", "--name", "cooler"], "cooler-2"),
        (["resume", "demo/main", "--mode", "magic"], "exact"),
        (["serve", "--host", "0.0.0.0", "--no-token"], "token"),
    ],
)
def test_bad_input_exits_with_2_and_says_what_is_allowed(
    call: Call, forked: Forked, arguments: list[str], word: str
) -> None:
    found = call(*arguments)
    assert found.code == 2
    assert word in found.err and "Traceback" not in found.err
    assert found.out == ""


def test_an_error_is_one_json_object_where_json_is_asked_for(call: Call, forked: Forked) -> None:
    found = call("set", "demo", "lr=nan", "--json")
    assert found.code == 2
    error = found.json["error"]
    assert (error["type"], error["facts"]["field"]) == ("InvalidInput", "lr")
    assert error["safe"] == "Nothing was changed."


@pytest.mark.parametrize("command", [["runs"], ["tree", "x"], ["verify", "--all"]])
def test_a_home_without_database_is_told_and_not_made(tmp_path: Path, command: list[str]) -> None:
    found = CliRunner().invoke(cli, ["--home", str(tmp_path / "no"), *command])
    assert found.exit_code == 2
    assert "branchtrack init" in found.stderr
    assert not (tmp_path / "no").exists()


def test_a_text_file_as_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "branchtrack.db").write_text("Dear diary, " * 500)
    found = CliRunner().invoke(cli, ["--home", str(tmp_path), "runs"])
    assert found.exit_code == 2 and "not a database" in found.stderr


def test_a_home_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = CliRunner().invoke(cli, ["--home", str(tmp_path / "file" / "home"), "init"])
    assert found.exit_code == 2 and "BRANCHTRACK_HOME" in found.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--home", "x" * 3000, "runs"],
        ["--home", "x" * 3000, "init"],
        ["--home", "x" * 3000, "serve", "--port", "0"],
        ["trust", "x" * 3000, "--json"],
        ["resume", "demo/main", "--set", "lr=1e-3", "--script", "x" * 3000],
        ["resume", "demo/main", "--set", "lr=1e-3", "--cwd", "x" * 3000],
        ["export", "demo/main", "x" * 3000],
        ["--home", "\udcff", "runs"],
    ],
)
def test_a_path_that_no_system_takes_is_told(
    call: Call, forked: Forked, arguments: list[str]
) -> None:
    result = call(*arguments)
    assert (result.code, "Traceback" in result.err) == (2, False)
    assert 0 < len(result.err) < 800


def test_a_full_disk_is_not_called_bad_input(
    call: Call, forked: Forked, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "out")

    monkeypatch.setattr("branchtrack.checkpoints.export.export", full)
    with pytest.raises(OSError, match="No space left"):
        call("export", "demo/main", "out")


def test_every_command_has_help_with_an_example() -> None:
    for name in COMMANDS:
        found = CliRunner().invoke(cli, [name, "--help"])
        assert found.exit_code == 0, name
        if name != "db":
            assert "Example: branchtrack" in found.stdout, name


def test_every_command_of_the_help_is_in_the_readme_or_the_docs() -> None:
    root = Path(__file__).parents[2]
    documents = [root / "README.md", *(root / "docs").glob("*.md")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in documents)
    for name in COMMANDS:
        assert f"branchtrack {name}" in text, name


def test_a_light_command_loads_nothing_heavy(sqlite_config: Config) -> None:
    script = (
        "import sys\n"
        "from branchtrack.cli.main import cli\n"
        "cli(['runs', '--json'], standalone_mode=False)\n"
        "heavy = {'torch', 'transformers', 'flask', 'alembic', 'numpy', 'pydantic'}\n"
        "print(sorted(heavy & sys.modules.keys()), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=sqlite_config.environment(),
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == "[]"
    assert done.stderr.strip() == "[]"
