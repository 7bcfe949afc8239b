"""`merge` as a user calls it: what it says, its JSON, its exit codes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from branchtrack.config import Config
from branchtrack.control import PlannedMerge
from branchtrack.core.records import Node
from branchtrack.db import nodes, runs, segments
from branchtrack.db.engine import Database
from branchtrack.launching import merging
from tests.cli.conftest import Call
from tests.trees_for_tests import ENTRY_POINT, Tree, make_tree

KEYS = {
    "node",
    "branch",
    "parents",
    "steps",
    "step",
    "weights",
    "message",
    "averaged",
    "from_a",
    "shared",
    "new_bytes",
    "rebuilds",
    "created",
}
MADE = {"state_digest", "evaluated", "metrics", "stored_bytes"}


@pytest.fixture
def tree(sqlite_database: Database, store: Any) -> Tree:
    """A run ``soup`` with nodes at 0 and 10 whose command can be started."""
    made = make_tree(sqlite_database, store, "soup", {**ENTRY_POINT, "argv": ["python", "-c", ""]})
    root = made.node("main", 0, kind="root")
    made.node("main", 10, root)
    return made


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch, tree: Tree) -> dict[str, Any]:
    """What the process of a merge commits, without the process."""
    facts: dict[str, Any] = {"evaluates": True, "metrics": {"eval_loss": 0.25}}

    def merge(database: Database, config: Config, planned: PlannedMerge, watch: Any) -> Node:
        del config
        watch()
        order = planned.order(0)
        with database.transaction() as connection:
            branch = runs.create_branch(
                connection,
                planned.a.run_id,
                order.name or "merge-1",
                order.a,
                branch_id=order.branch,
            )
            segment = segments.create(connection, branch.run_id, branch.id, order.a, planned.a.step)
            offers = {"evaluates": facts["evaluates"]}
            segments.take(
                connection,
                segment.id,
                actor=order.actor,
                declared=[],
                settings={},
                max_steps=None,
                offers=offers,
            )
            digest = nodes.get(connection, order.b).state_digest
            new = replace(
                tree.planned("main", planned.a.step, planned.a, digest),
                branch_id=branch.id,
                segment_id=segment.id,
                kind="merge",
                metrics=facts["metrics"],
                message=order.message,
                merge_parent_id=order.b,
            )
            return nodes.commit(connection, new)

    monkeypatch.setattr(merging, "merge", merge)
    return facts


def test_a_dry_run_says_what_would_be_merged_and_creates_nothing(call: Call, tree: Tree) -> None:
    dry = call("merge", "soup@10", "soup@0", "--weights", "0.25,0.75", "--dry-run")
    assert dry.code == 0 and "weight 0.25" in dry.out and "1 tensor, in float64" in dry.out
    assert "Nothing was created" in dry.out and "would store" in dry.out
    told = call("merge", "soup@10", "soup@0", "--dry-run", "--json").json
    assert told.keys() == KEYS and told["created"] is False and told["node"] is None
    assert (told["averaged"], told["from_a"], told["weights"]) == (["weight"], [], [0.5, 0.5])
    assert len(call("tree", "soup", "--json").json["branches"]) == 1


def test_a_merge_is_told_and_shown(call: Call, tree: Tree, process: dict[str, Any]) -> None:
    said = call("merge", "soup@10", "soup@0", "--name", "both", "--reason", "why")
    assert said.code == 0, said.err
    assert "of both" in said.out and "eval_loss 0.250" in said.out and "--mode weights" in said.out
    a, b = (call("show", f"soup@{step}", "--json").json["id"] for step in (10, 0))
    shown = call("show", "soup/both", "--json").json
    assert (shown["parent"], shown["merge_parent"], shown["kind"]) == (a, b, "merge")
    assert shown["message"] == "Merge of main@10 and main@0, weights 0.5, 0.5: why"
    text = call("show", "soup/both").out
    assert "second parent" in text and b in text
    (row,) = [line for line in call("tree", "soup").out.splitlines() if "◈" in line]
    assert f"second parent {b[:8]}" in row
    tree_nodes = call("tree", "soup", "--json").json["nodes"]
    assert [node["merge_parent"] for node in tree_nodes] == [None, None, b]


def test_json_has_what_was_recorded(call: Call, tree: Tree, process: dict[str, Any]) -> None:
    told = call("merge", "soup@10", "soup", "--json")
    assert told.code == 2 and told.json["error"]["field"] == "b"
    told = call("merge", "soup", "soup@0", "--json")
    assert told.json.keys() == KEYS | MADE
    assert told.json["created"] and told.json["evaluated"] and told.json["branch"] == "merge-1"
    assert told.json["metrics"] == {"eval_loss": 0.25}


def test_it_says_that_nothing_was_evaluated_and_why(
    call: Call, tree: Tree, process: dict[str, Any]
) -> None:
    process |= {"evaluates": False, "metrics": {}}
    assert "the script offers no evaluation" in call("merge", "soup", "soup@0").out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("soup", "soup@0", "--weights", "1,1"), "whose sum is 1"),
        (("soup", "soup@0", "--name", "main"), "exists already"),
        (("soup", "soup@5"), "The nearest are"),
        (("soup", "soup/main"), "the same state"),
    ],
)
def test_bad_input_is_refused(
    call: Call, tree: Tree, process: dict[str, Any], options: tuple[str, ...], said: str
) -> None:
    refused = call("merge", *options)
    assert refused.code == 2 and said in refused.err
    assert len(call("tree", "soup", "--json").json["branches"]) == 1
