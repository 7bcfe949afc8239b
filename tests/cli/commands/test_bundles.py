"""A run is moved at a shell; every answer has stable keys, and bad files exit with 2."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from branchtrack.checkpoints.location import open_store
from branchtrack.config import load
from branchtrack.core.records import Node
from branchtrack.db.schema import open_database
from tests.cli.conftest import Call, call_on
from tests.trees_for_tests import Tree, make_tree


@pytest.fixture
def ended(forked: tuple[Tree, list[Node]]) -> list[Node]:
    """The nodes of a run ``demo`` that has ended."""
    for branch in ("main", "cooler"):
        forked[0].end(branch)
    return forked[1]


@pytest.fixture
def call_there(tmp_path: Path) -> Call:
    """Calls the command line on a home that does not exist yet."""
    return partial(call_on, tmp_path / "there")


def test_a_run_goes_to_a_home_that_is_new(
    call: Call, call_there: Call, ended: list[Node], tmp_path: Path
) -> None:
    file = str(tmp_path / "demo.bundle")
    written = call("bundle", "demo", file, "--json").json
    assert written.pop("bytes") == Path(file).stat().st_size
    assert len(written.pop("run_id")) == 16 and written.pop("events") > 6
    assert written == {
        "file": file,
        "run": "demo",
        "branch": None,
        "weights": True,
        "nodes": 6,
        "tensors": 4,
        "tensor_bytes": 1024,
    }
    arrived = call_there("unbundle", file, "--json").json
    assert arrived.pop("events") > 6 and arrived.pop("run_id")
    assert arrived == {
        "file": file,
        "run": "demo",
        "branch": None,
        "weights": True,
        "result": "new",
        "dry_run": False,
        "events_before": 0,
        "checkpoints": 4,
        "tensors": 4,
        "tensors_present": 0,
        "tensor_bytes": 1024,
        "trust_needed": True,
        "removed_branches": [],
    }
    assert call_there("verify", "--all").code == 0
    assert "holds" in call_there("audit", "demo", "--verify").out
    assert call_there("unbundle", file, "--json").json["result"] == "unchanged"


def test_people_are_told_what_happened(
    call: Call, call_there: Call, ended: list[Node], tmp_path: Path
) -> None:
    record, whole = str(tmp_path / "record"), str(tmp_path / "whole")
    assert "6 nodes" in call("bundle", "demo/main", record, "--no-weights").out
    call("bundle", "demo", whole)
    call_there("init")
    assert "would be new here" in call_there("unbundle", record, "--dry-run").out
    shown = call_there("unbundle", record, "--name", "copy").out
    assert "copy: new here" in shown and "branchtrack trust" in shown
    assert "only missing tensors were added" in call_there("unbundle", whole).out
    assert "nothing was changed" in call_there("unbundle", whole).out


def test_bad_input_exits_with_2_and_changes_nothing(
    call: Call, call_there: Call, forked: tuple[Tree, list[Node]], tmp_path: Path
) -> None:
    file = tmp_path / "demo.bundle"
    trained = call("bundle", "demo", str(file), "--json")
    assert trained.code == 2 and trained.json["error"]["field"] == "run"
    file.write_text("text")
    bad = call_there("unbundle", str(file), "--json")
    assert bad.code == 2 and bad.json["error"]["field"] == "file"
    assert not (tmp_path / "there").exists()


def test_a_taken_name_is_answered_with_the_option(
    call: Call, call_there: Call, ended: list[Node], tmp_path: Path
) -> None:
    file = str(tmp_path / "demo.bundle")
    call("bundle", "demo", file)
    config = load(tmp_path / "there")
    database = open_database(config, create=True)
    make_tree(database, open_store(config.store), "demo")
    database.close()
    taken = call_there("unbundle", file, "--json")
    assert taken.code == 2 and taken.json["error"]["field"] == "name"
    assert "--name demo-2" in taken.err
    assert call_there("unbundle", file, "--name", "demo-2", "--json").json["run"] == "demo-2"
