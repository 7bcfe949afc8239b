"""Other code or packages than the node's are refused with their difference, unless allowed."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.control import code_changes
from branchtrack.core.records import Node
from branchtrack.db import segments
from branchtrack.db.engine import Database
from branchtrack.db.storage import texts
from branchtrack.db.tables import runs as run_rows
from branchtrack.db.tables import segments as segment_rows
from branchtrack.errors import CodeChanged
from tests.trees_for_tests import make_forked_tree


@pytest.fixture
def node(database: Database, store: Store, tmp_path: Path) -> Node:
    """A node whose process ran ``train.py`` and its module ``model.py``."""
    _tree, made = make_forked_tree(database, store)
    (tmp_path / "train.py").write_text("import model\n")
    (tmp_path / "model.py").write_text("width = 1\n")
    argv = [sys.executable, str(tmp_path / "train.py")]
    entry_point = {"argv": argv, "cwd": str(tmp_path), "env": {}}
    digest = hashlib.sha256(b"width = 1\n").hexdigest()
    with database.transaction() as connection:
        connection.execute(run_rows.update().values(entry_point=entry_point))
        environment = {"values": {}, "secrets": {}, "modules": {"model.py": digest[:12]}}
        connection.execute(update(segment_rows).values(environment=environment))
        sources = {"model.py": texts.put(connection, "width = 1\n")}
        code: dict[str, Any] = {"executable": sys.executable, "sources": sources}
        for segment in segments.list_of_run(connection, made[0].run_id):
            segments.set_code(connection, segment.id, {**code, "imported": {"torch": "0.1"}})
    return made[1]


def check(database: Database, node: Node) -> CodeChanged | None:
    with database.read() as connection:
        try:
            code_changes.check(connection, node, None)
        except CodeChanged as error:
            return error
    return None


def record(database: Database, node: Node, **facts: Any) -> None:
    """Let the node's process have recorded something else."""
    with database.transaction() as connection:
        code = segments.code_before(connection, node.id) or {}
        segments.set_code(connection, node.segment_id, {**code, **facts})


def test_another_version_of_a_package_is_named_with_both(database: Database, node: Node) -> None:
    error = check(database, node)
    assert error is not None and error.facts["files"] == []
    (package,) = error.facts["packages"]
    assert package.startswith("torch 0.1 -> 2.")
    record(database, node, imported={"no-such-package": "1"})
    error = check(database, node)
    assert error is not None and error.facts["packages"] == ["no-such-package 1 -> gone"]


def test_packages_of_another_interpreter_and_branchtrack_itself_are_not_compared(
    database: Database, node: Node
) -> None:
    record(database, node, executable="/usr/bin/other-python")
    assert check(database, node) is None
    record(database, node, executable=sys.executable, imported={"branchtrack": "0.0.1"})
    assert check(database, node) is None


def test_a_changed_module_is_shown_as_a_difference(
    database: Database, node: Node, tmp_path: Path
) -> None:
    record(database, node, imported={})
    assert check(database, node) is None
    (tmp_path / "model.py").write_text("width = 2\n")
    error = check(database, node)
    assert error is not None and error.facts["files"] == ["model.py"]
    assert "-width = 1\n+width = 2\n" in error.facts["diff"]


def test_an_order_is_refused_unless_the_change_is_allowed(
    database: Database, store: Store, node: Node
) -> None:
    order: dict[str, Any] = {"actor": "ann", "name": "next"}
    with pytest.raises(CodeChanged, match="torch 0.1"):
        control.create_launch(database, store, node.id, **order, allow_code_change=False)
    with pytest.raises(CodeChanged):
        fork = control.ForkOrder([node.id], name="next")
        control.create_launches(database, store, fork, actor="ann", allow_code_change=False)
    launch = control.create_launch(database, store, node.id, **order, allow_code_change=True)
    assert launch.branch == "next"
