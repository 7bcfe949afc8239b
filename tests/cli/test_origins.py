"""What a resume starts from is told where it is not what the node was made with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from branchtrack import control, scripts
from branchtrack.checkpoints.packs import Store
from branchtrack.cli import origins
from branchtrack.core.records import Launch, Node
from branchtrack.db import runs, segments
from branchtrack.db.engine import Database
from branchtrack.db.tables import metadata
from branchtrack.errors import InvalidInput
from tests.trees_for_tests import Tree, make_forked_tree


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """The script that trained the run."""
    path = tmp_path / "train.py"
    path.write_text("print('training')")
    return path


@pytest.fixture
def forked(sqlite_database: Database, store: Store, script: Path) -> tuple[Tree, list[Node]]:
    """A run whose command is the script's."""
    command = {"argv": ["python", str(script)], "cwd": str(script.parent), "env": {}}
    return make_forked_tree(sqlite_database, store, entry_point=command)


@pytest.fixture
def launch(sqlite_database: Database, store: Store, forked: tuple[Tree, list[Node]]) -> Launch:
    """A launch from the run's first checkpoint."""
    return control.create_launch(sqlite_database, store, forked[1][1].id, actor="me")


def record_environment(database: Database, environment: dict[str, Any]) -> None:
    with database.transaction() as connection:
        connection.execute(metadata.tables["nodes"].update().values(environment=environment))


def test_a_script_that_stayed_where_it_was_needs_no_other_command(
    sqlite_database: Database, forked: tuple[Tree, list[Node]]
) -> None:
    assert origins.relocated_command(sqlite_database, forked[1][1].id, None, None) is None


def test_a_script_elsewhere_takes_the_place_of_the_recorded_one(
    sqlite_database: Database, forked: tuple[Tree, list[Node]], tmp_path: Path
) -> None:
    moved = tmp_path / "moved.py"
    moved.write_text("")
    command = origins.relocated_command(sqlite_database, forked[1][1].id, str(moved), None)
    assert command is not None and command["argv"] == ["python", str(moved)]
    with pytest.raises(InvalidInput):
        origins.relocated_command(sqlite_database, forked[1][1].id, str(tmp_path / "none.py"), None)


def test_a_changed_script_is_told_unless_quiet(
    sqlite_database: Database, launch: Launch, script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record_environment(sqlite_database, {"script": scripts.digest(script)})
    assert not origins.report_script_changes(sqlite_database, launch, quiet=False)
    script.write_text("print('changed')")
    assert origins.report_script_changes(sqlite_database, launch, quiet=True)
    assert capsys.readouterr().err == ""
    assert origins.report_script_changes(sqlite_database, launch, quiet=False)
    assert f"{script} has changed since node {launch.node_id}" in capsys.readouterr().err


def test_a_changed_module_of_the_script_is_told(
    sqlite_database: Database,
    forked: tuple[Tree, list[Node]],
    launch: Launch,
    script: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    helper = script.parent / "helper.py"
    helper.write_text("a = 1")
    modules = scripts.digests_below(script.parent, [str(helper)])
    with sqlite_database.transaction() as connection:
        segments.set_environment(connection, forked[0].segment("main").id, {"modules": modules})
    assert not origins.report_script_changes(sqlite_database, launch, quiet=False)
    helper.write_text("a = 2")
    assert origins.report_script_changes(sqlite_database, launch, quiet=False)
    assert "Modules of the script have changed since: helper.py." in capsys.readouterr().err


def test_a_command_is_remembered_once_it_is_the_runs_own(
    sqlite_database: Database, launch: Launch
) -> None:
    assert not origins.is_remembered(sqlite_database, launch)
    with sqlite_database.read() as connection:
        recorded = runs.get_run(connection, launch.run_id).entry_point
    assert origins.is_remembered(sqlite_database, replace(launch, entry_point=recorded))
    other = replace(launch, entry_point={**(recorded or {}), "cwd": "/elsewhere"})
    assert not origins.is_remembered(sqlite_database, other)


def test_variables_that_are_restored_are_told(
    sqlite_database: Database,
    forked: tuple[Tree, list[Node]],
    launch: Launch,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    origins.report_environment(sqlite_database, launch, quiet=False)
    assert capsys.readouterr().err == ""
    environment = {"values": {"MY_SCALE": "3"}, "secrets": {}}
    with sqlite_database.transaction() as connection:
        segments.set_environment(connection, forked[0].segment("main").id, environment)
    monkeypatch.delenv("MY_SCALE", raising=False)
    origins.report_environment(sqlite_database, launch, quiet=True)
    assert capsys.readouterr().err == ""
    origins.report_environment(sqlite_database, launch, quiet=False)
    assert "MY_SCALE=3" in capsys.readouterr().err
