"""What every command is given: the database and the store of its home, closed after it."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.config import Config, load
from branchtrack.db import runs
from branchtrack.db.engine import Database
from branchtrack.errors import DatabaseMissing


def test_a_command_reads_the_database_of_its_home(sqlite_config: Config) -> None:
    with CommandLine(sqlite_config).read() as connection:
        assert runs.of_training(connection, process="none") == []


def test_the_database_is_closed_also_after_an_error(
    sqlite_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Database] = []
    close = Database.close
    monkeypatch.setattr(Database, "close", lambda self: (closed.append(self), close(self)))
    with pytest.raises(ZeroDivisionError), CommandLine(sqlite_config).database() as database:
        raise ZeroDivisionError
    assert closed[-1] is database


def test_looking_makes_no_database(tmp_path: Path) -> None:
    line = CommandLine(load(tmp_path / "home"))
    with pytest.raises(DatabaseMissing), line.database():
        raise AssertionError("opened")
    assert not (tmp_path / "home").exists()
    with line.database(create=True):
        assert (tmp_path / "home").is_dir()


def test_the_store_is_that_of_the_home(sqlite_config: Config) -> None:
    assert CommandLine(sqlite_config).store.describe().startswith(str(sqlite_config.home))
    assert not CommandLine(sqlite_config).read_only


def test_a_command_has_the_line_and_the_option_for_json(sqlite_config: Config) -> None:
    @click.command()
    @json_option
    @pass_command_line
    def where(line: CommandLine, as_json: bool) -> None:
        home = str(line.config.home)
        click.echo(json.dumps(home) if as_json else home)

    for arguments, said in (([], str(sqlite_config.home)), (["--json"], f'"{sqlite_config.home}"')):
        result = CliRunner().invoke(where, arguments, obj=CommandLine(sqlite_config))
        assert result.output.strip() == said
