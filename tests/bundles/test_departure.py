"""A bundle is of a run at rest whose record is whole, or there is none."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from sqlalchemy import text

from branchtrack.bundles import departure
from branchtrack.core.records import Node
from branchtrack.db import nodes
from branchtrack.db.engine import Database
from branchtrack.db.orders import ordering
from branchtrack.errors import (
    CheckpointMissing,
    InvalidInput,
    NotFound,
    RecordChanged,
    StorageError,
)
from tests.bundles.files import members_of
from tests.bundles.homes import Home, ended_tree
from tests.trees_for_tests import Tree, make_forked_tree
from tests.web import seeds

Forked = tuple[Tree, list[Node]]


def test_the_header_says_what_the_bundle_holds(there: Home, forked: Forked, tmp_path: Path) -> None:
    header = json.loads(members_of(there.bundle("demo/cooler", tmp_path / "b"))["bundle.json"])
    assert header["run"] == {"id": forked[0].run.id, "name": "demo"}
    assert header["branch"] == "cooler" and header["weights"] is True
    assert header["rows"]["nodes"] == 6 and header["tensors"] == 3
    assert header["head"] == there.links(forked[0].run.id)[-1]


def test_only_rows_of_the_run_travel(there: Home, forked: Forked, tmp_path: Path) -> None:
    other, _ = ended_tree(there, name="other")
    content = there.bundle("demo", tmp_path / "b").read_bytes()
    assert other.run.id.encode() not in content


def test_a_run_that_is_trained_is_refused(there: Home, tmp_path: Path) -> None:
    make_forked_tree(there.database, there.store)
    with pytest.raises(InvalidInput, match="branchtrack stop demo/cooler") as info:
        there.bundle("demo", tmp_path / "b")
    assert info.value.field == "run" and "branchtrack stop demo/main" in str(info.value)
    assert not (tmp_path / "b").exists()


def test_a_run_with_a_queued_launch_is_refused(there: Home, forked: Forked, tmp_path: Path) -> None:
    with there.database.transaction() as connection:
        launch = ordering.order(
            connection,
            forked[1][1],
            branch_name="next",
            overrides={},
            mode="exact",
            actor="test",
            reason="",
        )
    with pytest.raises(InvalidInput, match=f"branchtrack cancel {launch.id}"):
        there.bundle("demo", tmp_path / "b")


def test_what_does_not_exist_or_exists_is_refused(
    there: Home, forked: Forked, tmp_path: Path
) -> None:
    with pytest.raises(NotFound):
        there.bundle("none", tmp_path / "b")
    with pytest.raises(NotFound):
        there.bundle("demo/none", tmp_path / "b")
    (tmp_path / "b").write_text("mine")
    with pytest.raises(InvalidInput, match="exists already"):
        there.bundle("demo", tmp_path / "b")
    with pytest.raises(InvalidInput, match="folder that exists"):
        there.bundle("demo", tmp_path / "none" / "b")
    assert (tmp_path / "b").read_text() == "mine"


def test_a_changed_record_is_not_bundled(there: Home, forked: Forked, tmp_path: Path) -> None:
    with there.database.transaction() as connection:
        connection.execute(text("UPDATE segments SET step = step + 1"))
    with pytest.raises(RecordChanged, match="segments is not as it was written"):
        there.bundle("demo", tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_run_whose_events_were_cut_off_is_not_bundled(
    there: Home, forked: Forked, tmp_path: Path
) -> None:
    with there.database.transaction() as connection:
        connection.execute(text("DELETE FROM events WHERE id = (SELECT max(id) FROM events)"))
    with pytest.raises(RecordChanged, match="not as its events say"):
        there.bundle("demo", tmp_path / "b")


def test_a_missing_pack_leaves_no_file(there: Home, forked: Forked, tmp_path: Path) -> None:
    with there.database.read() as connection:
        stored = nodes.checkpoint(connection, forked[1][0].state_digest)
    there.store.delete(next(iter(stored.locations.values())).pack)
    with pytest.raises(CheckpointMissing):
        there.bundle("demo", tmp_path / "b")
    assert "b" not in os.listdir(tmp_path)


def test_a_folder_that_cannot_be_written_is_said_to_be_one(
    there: Home, forked: Forked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(departure.tempfile, "TemporaryFile", fail)
    with pytest.raises(StorageError, match="Read-only file system"):
        there.bundle("demo", tmp_path / "b")


def test_a_home_that_can_only_be_read_is_bundled_from(
    there: Home, here: Home, forked: Forked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there.database.close()
    monkeypatch.setattr("branchtrack.db.readonly.is_read_only", lambda path: True)
    reader = Database(there.config.database_url)
    monkeypatch.undo()
    assert reader.read_only
    here.unbundle(Home(there.config, reader).bundle("demo", tmp_path / "b"))
    reader.close()
    assert here.problems() == []


def test_the_compositions_that_nodes_name_travel(
    there: Home, forked: Forked, tmp_path: Path
) -> None:
    grower = seeds.Grower(there.database, there.store, "live")
    line = grower.line("main")
    line.draw(100)
    line.end("finished")
    carried = members_of(there.bundle("live", tmp_path / "b"))["rows/texts.jsonl"].decode()
    for composition in (seeds.BEFORE, seeds.AFTER):
        assert composition.digest in carried
