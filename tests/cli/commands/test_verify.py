"""The command `verify`: what can be restored, and what is not as it was written."""

from __future__ import annotations

from branchtrack.core.records import Node
from branchtrack.db import tables
from tests.cli.conftest import Call
from tests.trees_for_tests import Tree

Forked = tuple[Tree, list[Node]]


def test_whole_nodes_verify(call: Call, forked: Forked) -> None:
    verified = call("verify", "--all")
    assert verified.code == 0 and "6 of 6" in verified.out


def test_a_flipped_byte_is_found_with_the_nodes_that_need_it(call: Call, damaged: Node) -> None:
    verified = call("verify", "--all", "--json")
    assert verified.code == 1
    broken = {verdict["node"] for verdict in verified.json if not verdict["whole"]}
    # The fork node has the state of the node that it was made from.
    assert damaged.id in broken and len(broken) == 2
    assert call("verify", damaged.id).code == 1


def test_verify_wants_a_node_or_all(call: Call) -> None:
    nothing = call("verify")
    assert nothing.code == 2 and "Give a NODE, or --all." in nothing.err
    both = call("verify", "--all", "abcd")
    assert both.code == 2 and "Give a NODE or --all, not both." in both.err


def test_an_edited_record_is_named_and_its_bytes_are_not_blamed(call: Call, forked: Forked) -> None:
    tree, tree_nodes = forked
    with tree.database.transaction() as connection:
        edited = tables.nodes.update().where(tables.nodes.c.id == tree_nodes[2].id)
        connection.execute(edited.values(message="edited"))
    verified = call("verify", "--all", "--json")
    assert verified.code == 1
    problems = [verdict for verdict in verified.json if not verdict["whole"]]
    assert [verdict.get("node") for verdict in problems] == [tree_nodes[2].id]
    assert "5 of 6 nodes are whole." in call("verify", "--all").out


def test_a_changed_row_that_is_no_node_fails_the_database_alone(call: Call, forked: Forked) -> None:
    with forked[0].database.transaction() as connection:
        connection.execute(tables.runs.update().values(notes="edited"))
    verified = call("verify", "--all")
    assert verified.code == 1 and "6 of 6 nodes are whole." in verified.out
    assert "1 records that are not as they were written" in verified.out
    assert call("verify", forked[1][1].id).code == 0
