"""Rewinds that would end training are refused, and nothing is made."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest

from branchtrack import control, scripts
from branchtrack.checkpoints.packs import Store
from branchtrack.db import launches
from branchtrack.db.engine import Database
from branchtrack.errors import InvalidInput
from branchtrack.training import environment
from branchtrack.training.rewinding import Rewinder
from tests.trees_for_tests import make_forked_tree


def test_no_process_begins_anew_with_another_script(
    sqlite_database: Database, store: Store, tmp_path: Path
) -> None:
    script = tmp_path / "train.py"
    script.write_text("first = 1")
    began = scripts.digest(script)
    entry_point = {"argv": ["python", "train.py"], "cwd": str(tmp_path), "env": {}}
    tree, made = make_forked_tree(sqlite_database, store, entry_point=entry_point)
    request = control.submit(
        sqlite_database, "demo/main", {"kind": "rewind", "node": made[1].id}, actor="me"
    )
    rewinder = Rewinder(sqlite_database, store, "run")
    script.write_text("import nothing_of_that_name")
    with (
        mock.patch.object(environment, "_SCRIPT", began),
        pytest.raises(InvalidInput, match=r"training goes on(.|\n)*branchtrack resume"),
    ):
        rewinder.order(request)
    with sqlite_database.read() as connection:
        assert launches.unfinished(connection) == [] and rewinder.pending is None
    script.write_text("first = 1")
    with mock.patch.object(environment, "_SCRIPT", began):
        assert rewinder.order(request)["branch"]
