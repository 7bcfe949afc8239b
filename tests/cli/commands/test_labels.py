"""`rename`, `tag`, `describe`, `archive` and `unarchive` as a user runs them."""

from __future__ import annotations

import pytest

from branchtrack.core.records import Node
from tests.cli.conftest import Call
from tests.trees_for_tests import Tree

Forked = tuple[Tree, list[Node]]


def test_a_branch_is_renamed(call: Call, forked: Forked) -> None:
    answer = call("rename", "demo/cooler", "calm", "--json")
    assert (answer.code, answer.json["kind"], answer.json["name"]) == (0, "branch", "calm")
    assert call("rename", "demo/calm", "main").code == 2
    assert "calm" in call("tree", "demo").out


def test_tags_are_added_and_taken_away(call: Call, forked: Forked) -> None:
    assert call("tag", "demo", "+good", "draft").code == 0
    answer = call("tag", "demo", "-draft", "+best", "--json")
    assert answer.json["tags"] == ["good", "best"]
    assert call("tag", "demo@30", "+released", "--json").json["tags"] == ["released"]
    assert call("runs", "--json").json[0]["tags"] == ["good", "best"]
    assert call("tag", "demo").code == 2


def test_notes_are_shown(call: Call, forked: Forked) -> None:
    assert "the baseline" in call("describe", "demo", "the baseline").out
    assert call("tree", "demo", "--json").json["run"]["notes"] == "the baseline"


def test_an_archived_run_is_listed_only_if_it_is_asked_for(call: Call, forked: Forked) -> None:
    assert call("archive", "demo", "--json").json["archived"]
    answer = call("runs")
    assert "demo" not in answer.out and "1 archived run not listed" in answer.err
    assert call("runs", "--json").json == []
    assert [run["name"] for run in call("runs", "--archived", "--json").json] == ["demo"]
    assert call("tree", "demo").code == 0
    assert not call("unarchive", "demo", "--json").json["archived"]
    assert "demo" in call("runs").out


def test_a_change_says_how_it_is_undone(call: Call, forked: Forked) -> None:
    for arguments, expected in (
        (("rename", "demo/cooler", "calm"), "branchtrack rename demo/calm cooler"),
        (("rename", "demo/calm", "cooler"), "branchtrack rename demo/cooler calm"),
        (("tag", "demo", "+a", "+b"), "branchtrack tag demo -a -b"),
        (("tag", "demo", "-a", "+c"), "branchtrack tag demo +a -c"),
        (("describe", "demo", "it's"), "branchtrack describe demo ''"),
        (("describe", "demo", ""), """branchtrack describe demo 'it'"'"'s'"""),
        (("archive", "demo"), "branchtrack unarchive demo"),
        (("unarchive", "demo"), "branchtrack archive demo"),
        (("pin", "demo/cooler", "--on-top"), "branchtrack unpin demo/cooler --on-top"),
        (("unpin", "demo/cooler", "--on-top"), "branchtrack pin demo/cooler --on-top"),
    ):
        assert call(*arguments).out.splitlines()[-1] == f"Undo: {expected}"
    assert "Undo" not in call("unarchive", "demo").out
    assert "Undo" not in call("tag", "demo", "+b").out


def test_a_branch_is_pinned_above_the_others(call: Call, forked: Forked) -> None:
    assert call("pin", "demo/cooler", "--on-top", "--json").json["pinned"] is True
    branches = call("tree", "demo", "--json").json["branches"]
    assert [branch["pinned"] for branch in branches] == [False, True]
    assert call("pin", "demo@10", "--on-top").code == 2


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("notes", ["describe", "demo", "a\x00b"]),
        ("reason", ["archive", "demo", "--reason", "a\x00b"]),
        ("name", ["rename", "demo", "a\x00b"]),
        ("tag", ["tag", "demo", "a\x00b"]),
    ],
)
def test_a_nul_character_is_refused_by_its_field(
    call: Call, forked: Forked, field: str, words: list[str]
) -> None:
    refused = call(*words, "--json")
    assert refused.code == 2 and refused.json["error"]["field"] == field
    run = call("runs", "--json").json[0]
    assert (run["name"], run["tags"], run["archived"]) == ("demo", [], False)
