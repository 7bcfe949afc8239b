"""How the code of two nodes differs."""

from __future__ import annotations

from typing import Any

from branchtrack.analysis import code_difference
from branchtrack.analysis.code_difference import CodeDifference
from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import Node
from branchtrack.db import segments
from branchtrack.db.engine import Database
from branchtrack.db.storage import texts
from tests.trees_for_tests import Tree, make_forked_tree


def recorded(database: Database, tree: Tree, branch: str, diff: str = "", **files: str) -> None:
    """Record the code of a branch: files by their names without the ending."""
    with database.transaction() as connection:
        code: dict[str, Any] = {
            "sources": {f"{name}.py": texts.put(connection, text) for name, text in files.items()},
            "diff": texts.put(connection, diff) if diff else None,
        }
        segments.set_code(connection, tree.segment(branch).id, code)


def difference(database: Database, node: Node, other: Node) -> CodeDifference:
    with database.read() as connection:
        return code_difference.between(connection, node, other)


def test_sources_and_uncommitted_changes_are_compared(database: Database, store: Store) -> None:
    tree, line = make_forked_tree(database, store)
    recorded(database, tree, "main", train="x = 1\n", model="y\n")
    recorded(database, tree, "cooler", "-a\n+b\n", train="x = 2\n", model="y\n")
    compared = difference(database, line[-1], line[0])
    assert compared.text is not None and "-x = 1\n+x = 2" in compared.text
    assert "model.py" not in compared.text and "+-a" in compared.uncommitted
    assert difference(database, line[0], line[0]).text == ""


def test_what_was_not_recorded_is_not_called_the_same(database: Database, store: Store) -> None:
    tree, line = make_forked_tree(database, store)
    recorded(database, tree, "cooler", train="x = 2\n")
    compared = difference(database, line[-1], line[0])
    assert compared.text is None


def test_a_node_is_compared_with_that_at_which_its_process_began(
    database: Database, store: Store
) -> None:
    tree, line = make_forked_tree(database, store)
    with database.read() as connection:
        assert code_difference.earlier(connection, line[0]) is None
        start = code_difference.earlier(connection, line[-1])
    assert start is not None and start.id == tree.segment("cooler").start_node_id
