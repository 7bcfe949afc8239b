"""``branchtrack interventions``: for people, as JSON, and as a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from branchtrack.core.records import Node
from branchtrack.core.replays.recording import from_text
from tests import recordings
from tests.cli.conftest import Call
from tests.trees_for_tests import Tree

Forked = tuple[Tree, list[Node]]


@pytest.fixture
def changed(forked: Forked) -> Forked:
    """The tree, with a change made on request in ``main``."""
    tree, nodes = forked
    main = tree.branches["main"].id
    node = next(node for node in nodes if node.branch_id == main and node.step == 20)
    recordings.carry_out(tree, "main", node)
    return forked


def test_people_see_who_changed_what_and_when(call: Call, changed: Forked) -> None:
    out = call("interventions", "demo").out
    header, row = out.splitlines()
    assert header.split() == ["AT", "KIND", "CHANGE", "BEFORE", "BY", "WHO", "WHY"]
    assert row.split()[:2] == ["20", "set"] and "lr 5e-3" in row and "ann" in row and "why" in row


def test_the_file_is_what_json_says(call: Call, changed: Forked, tmp_path: Path) -> None:
    path = tmp_path / "changes.jsonl"
    printed = call("interventions", "demo", "--json").json
    assert call("interventions", "demo", "--out", str(path)).out.startswith("1 change written to")
    recording = from_text(path.read_text())
    assert [change.as_dict() for change in recording.changes] == printed["interventions"]
    assert {**recording.header.as_dict(), "interventions": printed["interventions"]} == printed
    again = call("interventions", "demo", "--out", str(path))
    assert again.code == 2 and "no file yet" in again.err
    assert call("interventions", "demo", "--out", str(tmp_path / "no" / "x")).code == 2


def test_moments_are_written_as_asked(call: Call, changed: Forked) -> None:
    (row,) = call("interventions", "demo", "--by", "fraction", "--json").json["interventions"]
    assert row["at"] == {"fraction": 0.02}
    assert "2.0%" in call("interventions", "demo", "--by", "fraction").out
    refused = call("interventions", "demo", "--by", "reward", "--json")
    assert refused.code == 2 and refused.json["error"]["field"] == "by"


def test_a_branch_that_was_not_changed_says_so(call: Call, forked: Forked) -> None:
    _tree, nodes = forked
    unchanged = call("interventions", "demo", "--from", nodes[3].id)
    assert unchanged.out == "Nothing was changed on this branch.\n"
    assert call("interventions", "demo", "--from", nodes[1].id, "--json").json["step"] == 10
    assert call("interventions", "nothing").code == 2
