"""Commands that look: for people, and as JSON with the promised keys."""

from __future__ import annotations

from branchtrack.core.records import Change, Node
from branchtrack.db import audit, runs
from tests.cli.conftest import Call
from tests.trees_for_tests import Tree, make_tree

Forked = tuple[Tree, list[Node]]


def test_runs_are_listed(call: Call, forked: Forked) -> None:
    assert "demo" in call("runs").out
    (run,) = call("runs", "--json").json
    assert (run["name"], run["branches"], run["nodes"]) == ("demo", 2, 6)


def test_a_list_that_is_cut_says_so(call: Call, forked: Forked) -> None:
    tree, _made = forked
    make_tree(tree.database, tree.store, "other")
    cut = call("runs", "--limit", "1", "--json")
    assert [run["name"] for run in cut.json] == ["other"]
    assert cut.err == "1 of 2 runs; --all lists all of them.\n"
    for whole in (call("runs", "--json"), call("runs", "--limit", "1", "--all", "--json")):
        assert len(whole.json) == 2 and whole.err == ""
    events = call("audit", "demo", "--limit", "2", "--json")
    assert len(events.json) == 2 and events.err.startswith("2 of ")
    for lr in (0.1, 0.2):
        call("set", "demo", f"lr={lr}", "--no-wait")
    requests = call("requests", "demo", "--limit", "1", "--json")
    assert len(requests.json) == 1 and requests.err.startswith("1 of 2 requests")
    assert len(call("requests", "demo", "--all", "--json").json) == 2


def test_no_runs_are_told_with_a_way_to_make_one(call: Call) -> None:
    assert "branchtrack demo" in call("runs").out
    assert call("runs", "--json").json == []


def test_a_tree_shows_every_node_and_what_it_changed(call: Call, forked: Forked) -> None:
    _tree, made = forked
    text = call("tree", "demo").out
    for node in made:
        assert node.id[:8] in text
    assert "lr" in text and "main" in text and "cooler" in text
    told = call("tree", "demo", "--json").json
    assert {node["id"] for node in told["nodes"]} == {node.id for node in made}
    assert all(node["durable"] for node in told["nodes"])


def test_a_tree_says_what_could_not_be_recorded(call: Call, forked: Forked) -> None:
    tree, _made = forked
    assert call("tree", "demo", "--json").json["troubles"] == []
    with tree.database.transaction() as connection:
        segment = runs.list_branches(connection, tree.run.id)[0].segment_id
        audit.append(
            connection,
            tree.run.id,
            kind="trouble",
            ref=segment or "",
            state="begun",
            actor="run",
            step=7,
            reason="The disk is full.",
            payload={"what": "commit", "time": 1.0},
        )
    assert "main could not record everything since step 7: The disk is full." in call(
        "tree", "demo"
    ).out.replace("\n", " ")
    assert call("tree", "demo", "--json").json["troubles"] == [
        {
            "branch": "main",
            "step": 7,
            "since": "1970-01-01T00:00:01.000Z",
            "reason": "The disk is full.",
        }
    ]


def test_a_node_is_shown_by_a_prefix_of_its_id(call: Call, forked: Forked) -> None:
    node = forked[1][2]
    assert node.state_digest in call("show", node.id[:6]).out
    told = call("show", node.id[:6], "--json").json
    assert told["id"] == node.id
    assert told["changes"] == [{"name": "lr", "before": 0.01, "after": 0.02}]
    assert told["checkpoint"]["tensors"] == 1


def test_a_change_that_took_effect_before_its_node_says_where(call: Call, forked: Forked) -> None:
    tree, made = forked
    late = (Change("lr", 0.03, 0.3, 101),)
    node = tree.node("main", 395, made[0], kind="intervention", changes=late)
    for found in (call("tree", "demo"), call("show", node.id)):
        assert "lr 0.03 → 0.3 (since step 101)" in found.out
    assert call("show", node.id, "--json").json["changes"] == [
        {"name": "lr", "before": 0.03, "after": 0.3, "step": 101}
    ]


def test_two_branches_are_compared_from_their_common_ancestor(call: Call, forked: Forked) -> None:
    told = call("diff", "demo/main", "demo/cooler", "--json").json
    assert told["common_ancestor"] == forked[1][1].id
    assert {"name": "lr", "a": 0.02, "b": 0.001} in told["settings"]
    text = call("diff", "demo/main", "demo/cooler").out
    assert "lr" in text and "0.02" in text


def test_nodes_are_compared_by_their_branch_and_step(call: Call, forked: Forked) -> None:
    ten, twenty = forked[1][1], forked[1][5]
    payload = call("diff", "demo@10", "demo/cooler@20", "--weights", "--json").json
    assert (payload["a"]["node"], payload["b"]["node"]) == (ten.id, twenty.id)
    assert (payload["weights"]["a"], payload["weights"]["b"]) == (ten.id, twenty.id)
    several = call("diff", "demo@10", "demo@20", "demo/cooler@20", "--base", "demo/cooler@20")
    assert several.code == 0 and twenty.id in several.out
    unknown = call("diff", "demo@10", "demo@11")
    assert unknown.code == 2 and "The nearest are" in unknown.err


def test_a_curve_is_stitched_over_the_fork(call: Call, forked: Forked) -> None:
    told = call("curve", "demo/cooler", "loss", "--json").json
    assert told["steps"] == list(range(1, 21))
    assert told["values"] == [*range(1, 11), *range(111, 121)]
    assert told["forks"] == [10]
    fewer = call("curve", "demo/cooler", "loss", "--points", "6", "--json").json
    assert len(fewer["steps"]) <= 8 and 120 in fewer["values"]


def test_a_curve_is_drawn_for_people(call: Call, forked: Forked) -> None:
    found = call("curve", "demo/cooler", "loss")
    assert found.code == 0 and "loss" in found.out


def test_weights_are_compared_where_that_is_asked_for(call: Call, forked: Forked) -> None:
    assert "weights" not in call("diff", "demo/main", "demo/cooler", "--json").json
    weights = call("diff", "demo/main", "demo/cooler", "--weights", "--json").json["weights"]
    assert [row["name"] for row in weights["rows"]] == ["weight"]
    assert weights["rows"][0]["distance"] == 1.0 and weights["rows"][0]["cosine"] == 1.0
    text = call("diff", "demo/main", "demo/cooler", "--weights").out
    assert "MODULE" in text.upper() and "COSINE" in text.upper()


def test_several_branches_are_compared_with_one(call: Call, forked: Forked) -> None:
    tree, nodes = forked
    tree.branch("third", nodes[1])
    tree.node("third", 10, nodes[1], kind="fork", settings={"lr": 0.5})
    refs = ("demo/main", "demo/cooler", "demo/third")
    payload = call("diff", *refs, "--base", "demo/cooler", "--weights", "--json").json
    assert [side["ref"] for side in payload["sides"]] == list(refs)
    assert payload["base"] == "demo/cooler" and payload["common_step"] == 10
    assert payload["weights"].keys() == {"demo/main", "demo/third"}
    text = call("diff", *refs, "--weights").out
    assert "differences to" in text and "third" in text
    for wrong in ((*refs, "--base", "demo/nope"), tuple(f"demo/{n}" for n in range(9))):
        assert call("diff", *wrong).code == 2
