"""``branchtrack find``: for people, and as JSON."""

from __future__ import annotations

from branchtrack.core.records import Node
from tests.cli.conftest import Call
from tests.trees_for_tests import Tree, make_tree

Forked = tuple[Tree, list[Node]]


def test_nodes_are_listed_as_in_a_tree_with_run_settings_and_metrics(
    call: Call, forked: Forked
) -> None:
    (node,) = call("find", "lr<1e-2 and loss<2.5", "--json").json
    assert node["run"] == "demo" and node["branch"] == "cooler" and node["step"] == 20
    assert node["settings"]["lr"] == 0.001 and node["metrics"] == {"loss": 1.0}
    in_tree = {entry["id"]: entry for entry in call("tree", "demo", "--json").json["nodes"]}
    assert node.items() >= in_tree[node["id"]].items()


def test_people_see_the_values_that_they_ask_for(call: Call, forked: Forked) -> None:
    lines = call("find", "lr<1e-2 not tag:x").out.splitlines()
    assert lines[0].split() == "NODE BRANCH STEP KIND STATUS lr CHANGES MADE".split()
    assert len(lines) == 3 and "demo/cooler" in lines[1] and "1e-3" in lines[1]
    assert call("find", "loss>100").out == "No node matches.\n"


def test_a_list_that_is_cut_says_so(call: Call, forked: Forked) -> None:
    cut = call("find", "--limit", "2", "--json")
    assert len(cut.json) == 2 and cut.err == "The newest 2 nodes; more match: --limit N.\n"
    assert call("find", "--limit", "6", "--json").err == ""


def test_one_run_is_searched(call: Call, forked: Forked) -> None:
    tree, _nodes = forked
    make_tree(tree.database, tree.store, "other").node("main", 7)
    assert [node["step"] for node in call("find", "--run", "other", "--json").json] == [7]
    assert len(call("find", "--run", "demo", "kind:fork or kind:root", "--json").json) == 2
    assert call("find", "--run", "third", "--json").code == 2


def test_a_query_that_cannot_be_read_is_refused(call: Call, forked: Forked) -> None:
    refused = call("find", "lr>>1", "--json")
    assert refused.code == 2
    assert refused.json["error"]["field"] == "query"
    assert refused.json["error"]["facts"]["position"] == 3
    assert "lr>▸>1" in refused.err
