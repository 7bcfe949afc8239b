"""Home, database and store: init, verify, export, db upgrade."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.numpy import load_file
from sqlalchemy import text

from branchtrack.core.records import Node
from branchtrack.db import nodes
from branchtrack.db.engine import Database
from tests.cli.conftest import Call
from tests.trees_for_tests import Tree

Forked = tuple[Tree, list[Node]]


@pytest.fixture
def damaged(forked: Forked) -> Node:
    """A node of which one byte in the store is flipped."""
    tree, made = forked
    with tree.database.read() as connection:
        stored = nodes.checkpoint(connection, made[1].state_digest)
    place = next(iter(stored.locations.values()))
    path = Path(tree.store.describe(place.pack))
    content = bytearray(path.read_bytes())
    content[place.offset] ^= 1
    path.write_bytes(content)
    return made[1]


def test_a_home_is_made_once_and_stays(call: Call) -> None:
    assert call("init").code == 0
    assert call("init", "--json").json["schema"]


def test_whole_nodes_verify(call: Call, forked: Forked) -> None:
    found = call("verify", "--all")
    assert found.code == 0 and "6 of 6" in found.out


def test_a_flipped_byte_is_found_with_the_nodes_that_need_it(call: Call, damaged: Node) -> None:
    found = call("verify", "--all", "--json")
    assert found.code == 1
    broken = {one["node"] for one in found.json if not one["whole"]}
    # The fork node has the state of the node that it was made from.
    assert damaged.id in broken and len(broken) == 2
    assert call("verify", damaged.id).code == 1


def test_a_damaged_node_is_neither_resumed_nor_exported(
    call: Call, damaged: Node, tmp_path: Path
) -> None:
    before = call("tree", "demo", "--json").json["branches"]
    found = call("resume", damaged.id, "--name", "again")
    assert found.code == 1 and "another node" in found.err
    assert call("tree", "demo", "--json").json["branches"] == before
    assert call("export", damaged.id, str(tmp_path / "out")).code == 1
    assert not (tmp_path / "out").exists()


def test_an_exported_node_is_opened_by_any_safetensors_reader(
    call: Call, forked: Forked, tmp_path: Path
) -> None:
    found = call("export", forked[1][1].id, str(tmp_path / "out"))
    assert found.code == 0
    assert load_file(tmp_path / "out" / "model.safetensors")["weight"].tolist() == [10.0] * 64


def test_an_export_does_not_overwrite(call: Call, forked: Forked, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    assert call("export", forked[1][1].id, str(tmp_path)).code == 2
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["mine"]


def test_verify_wants_a_node_or_all(call: Call) -> None:
    nothing = call("verify")
    assert nothing.code == 2 and "Give a NODE, or --all." in nothing.err
    both = call("verify", "--all", "abcd")
    assert both.code == 2 and "Give a NODE or --all, not both." in both.err


def test_a_new_database_needs_no_upgrade(call: Call) -> None:
    found = call("db", "upgrade", "--json").json
    assert found["before"] == found["after"]


def test_a_newer_database_is_refused_by_every_command(
    call: Call, sqlite_database: Database
) -> None:
    with sqlite_database.transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for command in (["runs"], ["db", "upgrade"], ["init"]):
        found = call(*command)
        assert found.code == 2 and "newer" in found.err
