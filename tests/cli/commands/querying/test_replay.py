"""``branchtrack replay``: onto what trains, from a node, and with a command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from branchtrack import control
from branchtrack.config import Config
from branchtrack.core.records import Node
from branchtrack.db import nodes, requests, runs
from branchtrack.db.engine import Database
from branchtrack.environment_variables import CONTINUE_VARIABLE
from tests.cli.conftest import Call
from tests.recordings import at, text_of
from tests.trees_for_tests import Tree

Forked = tuple[Tree, list[Node]]
SCRIPT = Path(__file__).parent / "replayed_script.py"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Two changes, the second with a relative value."""
    path = tmp_path / "changes.jsonl"
    path.write_text(text_of(at(3), at(6, kind="set", values={"lr": "x0.5"})))
    return path


@pytest.fixture
def later(tmp_path: Path) -> Path:
    """Two changes that a training at step 30 can still make."""
    path = tmp_path / "later.jsonl"
    path.write_text(text_of(at(103), at(106, kind="set", values={"lr": "x0.5"})))
    return path


def test_a_live_training_is_asked_for_all_and_once(call: Call, forked: Forked, later: Path) -> None:
    tree, _nodes = forked
    arguments = ("replay", str(later), "--onto", "demo/main")
    tried = call(*arguments, "--dry-run")
    assert tried.code == 0 and "this was a dry run" in tried.out
    first = call(*arguments, "--no-wait", "--json")
    assert first.code == 0 and first.json["launch"] is None
    assert [(row["line"], row["state"]) for row in first.json["changes"]] == [
        (2, "accepted"),
        (3, "accepted"),
    ]
    assert call(*arguments, "--no-wait", "--json").json == first.json
    assert len(control.poll(tree.database, tree.segment("main").id)) == 2
    assert "waits for step 103" in call("requests", "demo").out
    table = call(*arguments, "--no-wait").out.splitlines()
    assert table[0].split()[:4] == ["LINE", "AT", "CHANGE", "RECORDED"] and len(table) == 3


def test_a_change_that_was_not_made_is_a_failure(call: Call, forked: Forked, later: Path) -> None:
    tree, _nodes = forked
    call("replay", str(later), "--onto", "demo/main", "--no-wait")
    with tree.database.transaction() as connection:
        for row in requests.waiting(connection, tree.segment("main").id):
            requests.move(connection, row.id, "expired", actor="run", error="Training ended.")
    ended = call("replay", str(later), "--onto", "demo/main")
    assert ended.code == 1 and "Training ended." in ended.out


def test_what_does_not_fit_names_its_line(call: Call, forked: Forked, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(text_of(at(103), at(104, kind="set", values={"lr": -1})))
    for target in ("demo/main", "demo@0"):
        refused = call("replay", str(path), "--onto", target, "--json")
        assert refused.code == 2 and refused.json["error"]["field"] == "line 3: lr"


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--onto", "demo", "--", "true"),
        ("--onto", "nothing"),
        ("--onto", "demo/main", "--name", "other"),
    ],
)
def test_what_makes_no_sense_is_refused(
    arguments: tuple[str, ...], call: Call, forked: Forked, file: Path
) -> None:
    assert call("replay", str(file), *arguments).code == 2
    assert call("replay", str(file.parent), "--onto", "demo").code == 2


def test_a_command_is_run_with_the_recording(call: Call, file: Path, tmp_path: Path) -> None:
    show = (
        "import os, sys; sys.exit(int(open(os.environ['BRANCHTRACK_REPLAY']).read().count('lr')))"
    )
    assert call("replay", str(file), "--", sys.executable, "-c", show).code == 2
    assert call("replay", str(file), "--dry-run", "--", "no-such-command").code == 0
    missing = call("replay", str(file), "--", str(tmp_path / "none"))
    assert missing.code == 1 and "cannot be started" in missing.err


def finals(database: Database) -> dict[str, Any]:
    """The newest node of the first branch of each run, by the run's name."""
    with database.read() as connection:
        branches = {}
        for name in ("replayed", "replayed-2"):
            branch = runs.find_branch(connection, name)
            branches[name] = nodes.get(connection, branch.head_id or "")
        return branches


def test_a_training_that_was_killed_goes_on_with_what_is_left(
    call: Call,
    sqlite_config: Config,
    sqlite_database: Database,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = ("replay", str(file), "--", sys.executable, str(SCRIPT))
    assert call(*command).code == 0
    monkeypatch.setenv("DIE_AT", "5")
    assert call(*command).code == 137
    monkeypatch.delenv("DIE_AT")
    monkeypatch.setenv(CONTINUE_VARIABLE, "1")
    assert call(*command).code == 0
    whole, continued = finals(sqlite_database).values()
    assert (whole.kind, continued.kind) == ("final", "final")
    assert whole.state_digest == continued.state_digest and whole.settings["lr"] == 0.0025
    with sqlite_database.read() as connection:
        rows = requests.list_of_run(connection, continued.run_id)[::-1]
    assert [row.step for row in rows if row.state == "verified"] == [3, 6]


def test_a_node_is_trained_from_with_the_changes(
    call: Call, sqlite_config: Config, sqlite_database: Database, file: Path
) -> None:
    empty = file.with_name("empty.jsonl")
    empty.write_text(text_of())
    assert call("replay", str(empty), "--", sys.executable, str(SCRIPT)).code == 0
    again = call("replay", str(file), "--onto", "replayed", "--name", "again", "--json")
    assert again.code == 0 and again.json["branch"] == "again"
    assert [row["state"] for row in again.json["changes"]] == ["verified", "verified"]
    assert [row["replayed"] for row in again.json["changes"]] == [{"lr": 0.005}, {"lr": 0.0025}]
    assert call("tree", "replayed", "--json").json["branches"][1]["name"] == "again"
