"""Storage is shown, thinned and pinned at a shell; a dry run changes nothing."""

from __future__ import annotations

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import Node
from branchtrack.db.engine import Database
from tests.cli.conftest import Call
from tests.retention.trees import certify, chain
from tests.trees_for_tests import make_tree


@pytest.fixture
def line(sqlite_database: Database, store: Store) -> list[Node]:
    """Five nodes of a run ``demo``, certified exact."""
    made = chain(make_tree(sqlite_database, store))
    certify(sqlite_database, made[0], made[-1])
    return made


def states(call: Call) -> list[str | None]:
    """What is left of each node, as the tree says."""
    listed = call("tree", "demo", "--json").json["nodes"]
    assert all(node["durable"] is (node["thinned"] is None) for node in listed)
    return [node["thinned"] for node in listed]


def test_storage_has_stable_keys_and_a_table(call: Call, line: list[Node]) -> None:
    payload = call("storage", "--json").json
    (run,) = payload["runs"]
    assert run["name"] == "demo" and run["nodes"] == 5 and run["thinned"] == 0
    assert 0 < run["stored_bytes"] < run["logical_bytes"]
    assert [branch["name"] for branch in run["branches"]] == ["main"]
    assert payload["stored_bytes"] > 0 and payload["free_bytes"] > 0
    assert payload["leftover_bytes"] == payload["unused_bytes"] == 0
    shown = call("storage").out
    assert "demo" in shown and "keep all" in shown and "free on the disk" in shown


def test_a_dry_run_says_what_a_sweep_then_does(call: Call, line: list[Node]) -> None:
    planned = call("gc", "demo", "--keep", "thin", "--dry-run", "--json").json["runs"][0]
    assert states(call) == [None] * 5
    swept = call("gc", "demo", "--keep", "thin", "--json").json["runs"][0]
    assert states(call) == [None, "recipe", "recipe", "recipe", None]
    assert planned["recipe"] == swept["recipe"] == 3
    assert 0 < planned["freed_bytes"] <= swept["freed_bytes"]
    assert planned["branches"] == swept["branches"]
    assert call("storage", "--json").json["runs"][0]["policy"] == {"keep": "thin"}


def test_the_policy_of_a_run_applies_without_options(call: Call, line: list[Node]) -> None:
    assert "No run has a policy" in call("gc").out
    assert "5" in call("gc", "demo").out and states(call) == [None] * 5
    call("gc", "demo", "--keep", "heads", "--every", "20")
    assert states(call) == [None, "recipe", None, "recipe", None]
    assert "keep heads, every 20 steps" in call("gc").out


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (["--keep", "some"], "keep"),
        (["--keep-last", "0"], "keep-last"),
        (["--keep-best", "loss", "x"], "keep-best"),
        (["--every", "-1"], "every"),
        (["--drop-optimizer-after", "1.5"], "drop-optimizer-after"),
    ],
)
def test_bad_input_names_the_field_and_changes_nothing(
    call: Call, line: list[Node], options: list[str], field: str
) -> None:
    refused = call("gc", "demo", *options, "--json")
    assert refused.code == 2 and refused.json["error"]["field"] == field
    assert states(call) == [None] * 5
    assert call("gc", "--keep", "thin").code == 2


def test_a_pinned_node_stays_until_it_is_unpinned(call: Call, line: list[Node]) -> None:
    assert "is pinned" in call("pin", line[2].id).out
    assert "already" in call("pin", line[2].id).out
    call("gc", "demo", "--keep", "thin")
    assert states(call) == [None, "recipe", None, "recipe", None]
    assert call("unpin", line[2].id, "--json").json["changed"]
    call("gc", "demo")
    assert states(call) == [None, "recipe", "recipe", "recipe", None]
    refused = call("pin", line[2].id)
    assert refused.code == 1 and "branchtrack rebuild" in refused.err


def test_a_thinned_node_is_shown_as_such_and_is_no_damage(call: Call, line: list[Node]) -> None:
    call("gc", "demo", "--keep", "thin")
    assert "branchtrack rebuild" in call("show", line[1].id).out
    assert call("show", line[1].id, "--json").json["checkpoint"]["thinned"] == "recipe"
    verified = call("verify", "--all")
    assert verified.code == 0 and "3 nodes thinned" in verified.out
    (verdict,) = call("verify", line[1].id, "--json").json
    assert (verdict["whole"], verdict["thinned"], verdict["problem"]) == (False, "recipe", None)


def test_a_whole_node_needs_no_rebuilding(call: Call, line: list[Node]) -> None:
    done = call("rebuild", line[1].id, "--json").json
    assert (done["rebuilt"], done["updates"], done["start"]) == (False, 0, None)
    assert "whole already" in call("rebuild", line[1].id).out


def test_weights_cannot_be_rebuilt(call: Call, sqlite_database: Database, store: Store) -> None:
    made = chain(make_tree(sqlite_database, store), count=3)
    call("gc", "demo", "--keep", "thin")
    refused = call("rebuild", made[1].id)
    assert refused.code == 1 and "--mode weights" in refused.err
    exported = call("export", made[1].id, str(store.home / "exported"), "--raw")
    assert exported.code == 0
