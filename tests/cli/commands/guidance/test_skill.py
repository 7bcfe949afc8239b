"""``branchtrack skill``: the file that agents read, and whether what it says is so."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from branchtrack.cli.commands.guidance.skill import skill_text
from branchtrack.cli.main import cli
from branchtrack.core import lifecycle
from branchtrack.core.queries.language import parse
from branchtrack.core.queries.terms import FILTERS, FUNCTIONS
from tests.cli.conftest import Call

SPAN = re.compile(r"`(branchtrack [^`]+)`|^(branchtrack .+)$", re.MULTILINE)
PLACEHOLDERS = {"COMMAND", "DIR ..."}


def commands() -> list[str]:
    """Every command line of the file that is a whole one."""
    lines = ["".join(match) for match in SPAN.findall(skill_text())]
    return [line for line in lines if not any(word in line for word in PLACEHOLDERS)]


def test_the_file_has_a_name_and_a_description() -> None:
    head = skill_text().split("---\n")[1]
    fields = dict(line.split(": ", 1) for line in head.splitlines())
    assert fields["name"] == "branchtrack" and 100 < len(fields["description"]) <= 1024
    assert skill_text().count("\n") <= 125


@pytest.mark.parametrize("line", sorted(set(commands())))
def test_every_command_can_be_parsed(line: str) -> None:
    name, *arguments = shlex.split(line)[1:]
    command = cli.get_command(click.Context(cli), name)
    assert command is not None, name
    if arguments:
        # An option or an argument that does not exist raises.
        command.make_context(name, arguments, resilient_parsing=False)


def test_commands_ask_for_json() -> None:
    tasks = [line for line in commands() if " " in line.removeprefix("branchtrack ")]
    assert len(tasks) > 30
    assert [line for line in tasks if "--json" not in line] == []


def test_queries_can_be_read() -> None:
    for query in re.findall(r'branchtrack find "([^"]+)"', skill_text()):
        parse(query)
    for word in (*FILTERS, *FUNCTIONS):
        assert word in skill_text(), word


def test_states_are_those_of_requests() -> None:
    for state in ("verified", "done", "accepted", "applied", "ineffective", "proposed"):
        assert state in lifecycle.STATES["request"] and f"`{state}`" in skill_text()


def test_it_is_printed_and_installed(call: Call, tmp_path: Path) -> None:
    assert call("skill").out == skill_text()
    assert call("skill", "--json").json["text"] == skill_text()
    path = tmp_path / "skills" / "branchtrack" / "SKILL.md"
    assert str(path) in call("skill", "--install", str(tmp_path / "skills")).out
    assert path.read_text(encoding="utf-8") == skill_text()


def test_another_file_is_not_replaced_unless_asked(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "branchtrack" / "SKILL.md"
    path.parent.mkdir()
    path.write_text("mine")
    refused = call("skill", "--install", str(tmp_path), "--json")
    assert refused.code == 2 and path.read_text() == "mine"
    assert refused.json["error"]["field"] == "install"
    assert call("skill", "--install", str(tmp_path), "--force").code == 0
    assert path.read_text(encoding="utf-8") == skill_text()
