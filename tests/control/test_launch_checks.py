"""Whether a run's command can be started here, and the way out where it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.control import launch_checks
from branchtrack.db.engine import Database
from branchtrack.errors import (
    LaunchFailed,
)
from tests.control.samples import row_counts
from tests.trees_for_tests import make_forked_tree


def test_a_run_whose_files_are_gone_is_not_ordered(sqlite_database: Database, store: Store) -> None:
    gone = {"argv": ["python", "/no/such/script.py"], "cwd": "/", "env": {}}
    _tree, tree_nodes = make_forked_tree(sqlite_database, store, entry_point=gone)
    before = row_counts(sqlite_database)
    with pytest.raises(LaunchFailed, match="script /no/such/script.py"):
        control.create_launch(sqlite_database, store, tree_nodes[1].id, actor="me", name="again")
    assert row_counts(sqlite_database) == before


def test_a_run_without_a_command_cannot_be_started_again(database: Database, store: Store) -> None:
    _tree, tree_nodes = make_forked_tree(database, store, entry_point={"training": {}})
    with pytest.raises(LaunchFailed, match="interactive session"):
        control.create_launch(database, store, tree_nodes[1].id, actor="me")


def test_an_imported_run_says_how_its_script_continues_it(database: Database, store: Store) -> None:
    _tree, tree_nodes = make_forked_tree(database, store, entry_point=None)
    node = tree_nodes[1].id
    with pytest.raises(LaunchFailed, match="it was imported.*resume_from_node") as refused:
        control.create_launch(database, store, node, actor="me")
    assert f'trainer.train(resume_from_node="{node}"' in refused.value.fix


def command(folder: Path, *argv: str) -> dict[str, Any]:
    return {"argv": ["python", *argv], "cwd": str(folder), "env": {}}


def test_a_command_whose_files_are_there_lacks_nothing(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("")
    assert launch_checks.describe_missing(command(tmp_path, "train.py")) == ""
    assert launch_checks.describe_missing(command(tmp_path, "-m", "package.train")) == ""


def test_a_missing_folder_and_a_missing_script_are_named(tmp_path: Path) -> None:
    assert f"script {tmp_path / 'train.py'}" in launch_checks.describe_missing(
        command(tmp_path, "train.py")
    )
    folder = tmp_path / "moved"
    assert f"folder {folder}" in launch_checks.describe_missing(command(folder, "train.py"))


def test_a_secret_that_was_not_recorded_is_what_the_command_lacks(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("")
    recorded = command(tmp_path, "train.py", "--api-key", "<redacted>")
    assert "--api-key" in launch_checks.describe_missing(recorded)
    assert "environment variables" in launch_checks.describe_way_to_start(recorded, "abcd")


def test_the_way_out_says_where_the_script_is_now_or_that_objects_are_needed(
    tmp_path: Path,
) -> None:
    moved = launch_checks.describe_way_to_start(command(tmp_path, "train.py"), "abcd")
    assert "branchtrack resume abcd --script PATH --cwd DIR" in moved
    interactive = launch_checks.describe_way_to_start(None, "abcd")
    assert 'resume="abcd"' in interactive and "--cwd" not in interactive


def test_a_command_that_is_the_recorded_one_needs_no_other(
    sqlite_database: Database, store: Store
) -> None:
    _tree, nodes = make_forked_tree(sqlite_database, store)
    with sqlite_database.read() as connection:
        assert launch_checks.startable(connection, nodes[1], None, None) is None
