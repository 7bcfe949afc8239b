"""Home, database and store: init, verify, export, db upgrade."""

from __future__ import annotations

from pathlib import Path

from safetensors.numpy import load_file
from sqlalchemy import text

from branchtrack.core.records import Node
from branchtrack.db import metrics
from branchtrack.db.browsing import pyramids
from branchtrack.db.browsing.tables import metric_pyramids
from branchtrack.db.engine import Database
from tests.cli.conftest import Call
from tests.trees_for_tests import Tree

Forked = tuple[Tree, list[Node]]


def test_a_home_is_made_once_and_stays(call: Call) -> None:
    assert call("init").code == 0
    assert call("init", "--json").json["schema"]


def test_a_damaged_node_is_neither_resumed_nor_exported(
    call: Call, damaged: Node, tmp_path: Path
) -> None:
    before = call("tree", "demo", "--json").json["branches"]
    refused = call("resume", damaged.id, "--name", "again")
    assert refused.code == 1
    assert call("tree", "demo", "--json").json["branches"] == before
    assert call("export", damaged.id, str(tmp_path / "out")).code == 1
    assert not (tmp_path / "out").exists()


def test_an_exported_node_is_opened_by_any_safetensors_reader(
    call: Call, forked: Forked, tmp_path: Path
) -> None:
    exported = call("export", forked[1][1].id, str(tmp_path / "out"))
    assert exported.code == 0
    assert load_file(tmp_path / "out" / "model.safetensors")["weight"].tolist() == [10.0] * 64


def test_an_export_does_not_overwrite(call: Call, forked: Forked, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    assert call("export", forked[1][1].id, str(tmp_path)).code == 2
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["mine"]


def test_a_new_database_needs_no_upgrade(call: Call) -> None:
    upgraded = call("db", "upgrade", "--json").json
    assert upgraded["before"] == upgraded["after"]


def test_an_upgrade_makes_the_pyramids_that_blocks_lack(
    call: Call, forked: Forked, sqlite_database: Database
) -> None:
    segment = forked[0].segment("main").id
    with sqlite_database.transaction() as connection:
        metrics.append(connection, segment, [("lr", step, 1.0, 1e9) for step in range(5000)])
        connection.execute(metric_pyramids.delete())
        assert pyramids.count_missing(connection)
    assert call("db", "upgrade").code == 0
    with sqlite_database.read() as connection:
        assert pyramids.count_missing(connection) == 0


def test_a_newer_database_is_refused_by_every_command(
    call: Call, sqlite_database: Database
) -> None:
    with sqlite_database.transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for command in (["runs"], ["db", "upgrade"], ["init"]):
        refused = call(*command)
        assert refused.code == 2 and "newer" in refused.err
