"""``branchtrack data``: what a branch has trained from, and changes of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.db import requests, runs
from branchtrack.db.engine import Database
from tests.cli.conftest import Call
from tests.web import seeds


@pytest.fixture
def line(sqlite_database: Database, store: Store) -> seeds.Line:
    """A branch that trains from shards."""
    line = seeds.Grower(sqlite_database, store, "live").line("main")
    line.offer()
    line.draw(100)
    line.beat()
    return line


def test_shards_are_listed_with_samples_and_changes(call: Call, line: seeds.Line) -> None:
    out = call("data", "live/main").out
    assert out.startswith("live/main, 1,300 samples up to step 200\n")
    chat = next(text for text in out.splitlines() if text.startswith("chat"))
    assert chat.split()[:5] == ["chat", "1", "20.0%", "310", "100"] and "█" not in chat
    assert f"from step 100  {seeds.AFTER.value}" in out
    facts = call("data", "live", "--json").json
    assert facts["branch"] == "live/main" and len(facts["shards"]) == 3


def test_a_branch_without_shards_says_so(call: Call, forked: object) -> None:
    assert "LiveDataset" in call("data", "demo").out
    assert call("data", "demo", "--json").json["shards"] == []


def test_a_change_is_requested_with_absolute_paths(call: Call, line: seeds.Line) -> None:
    asked = call(
        "data", "live", "--add", "forum=forum.txt", "--weight", "forum=0.5", "--remove", "code",
        "--no-wait", "--reason", "users write so",
    )  # fmt: skip
    assert asked.code == 0, asked.err
    with line.grower.database.read() as connection:
        (request,) = requests.list_of_run(connection, runs.find_run(connection, "live").id)
    assert request.requested == {
        "add": {"forum": str(Path(os.getcwd()) / "forum.txt")},
        "remove": ["code"],
        "weights": {"forum": 0.5},
    }


@pytest.mark.parametrize(
    ("option", "text", "named"),
    [
        ("--add", "chat=x.txt", "add.chat"),
        ("--add", "chat", "add"),
        ("--remove", "forum", "remove.forum"),
        ("--weight", "code=much", "weights.code"),
        ("--weight", "code=-1", "weights.code"),
        ("--weight", "forum=1", "weights.forum"),
        ("--fingerprint", f"code={'a' * 64}", "fingerprints.code"),
    ],
)
def test_what_cannot_be_is_refused_with_the_field(
    call: Call, line: seeds.Line, option: str, text: str, named: str
) -> None:
    refusal = call("data", "live", option, text, "--json")
    assert refusal.code == 2 and refusal.json["error"]["field"] == named
