"""`delete`, `restore` and `trash` as a user runs them."""

from __future__ import annotations

import pytest

from branchtrack.core.records import Node
from tests.cli.conftest import Call
from tests.trees_for_tests import Tree

Forked = tuple[Tree, list[Node]]


@pytest.fixture
def ended(forked: Forked) -> Forked:
    for name in forked[0].branches:
        forked[0].end(name)
    return forked


def test_a_branch_is_deleted_and_restored(call: Call, ended: Forked) -> None:
    assert call("delete", "demo/cooler", "--dry-run", "--json").json == {
        "name": "demo/cooler",
        "branches": ["cooler"],
        "nodes": 2,
        "frees": 0,
        "dry_run": True,
    }
    assert "`branchtrack restore demo/cooler` brings it back." in call("delete", "demo/cooler").out
    names = [branch["name"] for branch in call("tree", "demo", "--json").json["branches"]]
    assert names == ["main"]
    answer = call("show", "demo/cooler")
    assert answer.code == 2 and "branchtrack restore demo/cooler" in answer.err
    assert call("restore", "demo/cooler", "--json").json["branches"] == ["cooler"]
    assert call("verify", "--all").code == call("audit", "demo", "--verify").code == 0


def test_the_trash_is_listed_and_emptied(call: Call, ended: Forked) -> None:
    assert "The trash is empty." in call("trash").out
    call("delete", "demo/cooler", "--reason", "worse")
    assert "worse" in call("trash").out
    (entry,) = call("trash", "--json").json["entries"]
    assert (entry["name"], entry["nodes"]) == ("demo/cooler", 2)
    assert "cooler (trash)" in call("storage").out
    refused = call("trash", "--empty")
    assert refused.code == 2 and "--yes" in refused.err
    answer = call("trash", "--empty", "demo/cooler", "--yes", "--json")
    assert answer.code == 0 and answer.json["freed_bytes"] >= 0
    assert call("trash", "--json").json["entries"] == []
    assert call("restore", "demo/cooler").code == 2
    assert call("verify", "--all").code == call("audit", "demo", "--verify").code == 0


def test_a_run_is_purged_by_gc_after_its_time(
    call: Call, ended: Forked, monkeypatch: pytest.MonkeyPatch
) -> None:
    call("delete", "demo")
    assert call("runs", "--json").json == []
    assert call("audit", "demo", "--json").code == 0
    assert call("gc", "--json").json["purged"] == []
    monkeypatch.setenv("BRANCHTRACK_TRASH_DAYS", "0")
    assert call("gc", "--dry-run", "--json").json["purged"] == ["demo"]
    answer = call("gc", "--json")
    assert answer.json["purged"] == ["demo"] and answer.json["unused_bytes"] > 0
    run_id = ended[0].run.id
    last = call("audit", run_id, "--json").json[-1]
    assert (last["kind"], last["state"]) == ("run", "purged")
    assert call("verify", "--all").code == 0


def test_what_cannot_go_is_refused(call: Call, ended: Forked) -> None:
    assert call("delete", "demo/main").code == 2
    assert call("delete", "nothing").code == 2
    assert call("trash", "demo").code == 2
