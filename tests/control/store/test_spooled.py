"""Commits that a process left on this machine are finished once, or dropped with a reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from branchtrack import control
from branchtrack.checkpoints.location import open_store
from branchtrack.checkpoints.manifest import Manifest
from branchtrack.checkpoints.packs import Store
from branchtrack.checkpoints.remote import spool as spools
from branchtrack.control import leftovers
from branchtrack.control.store import spooled
from branchtrack.core.records import NewNode, Node
from branchtrack.db import audit, nodes, runs, segments
from branchtrack.db.engine import Database
from branchtrack.db.tables import runs as run_rows
from branchtrack.environment_variables import STORE_VARIABLE
from tests.checkpoints.tensors_for_tests import ARRAYS, manifest_of, tensors
from tests.trees_for_tests import make_tree


@pytest.fixture
def store(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv(STORE_VARIABLE, bucket)
    return open_store(tmp_path / "home" / "store")


def leave(
    database: Database, store: Store, head: Node, step: int, *, name: str = "", **how: object
) -> Manifest:
    """A commit that follows ``head``, as a process leaves it that was killed."""
    manifest = manifest_of(ARRAYS, {"step": step})
    new = NewNode(
        run_id=head.run_id,
        branch_id=head.branch_id,
        segment_id=head.segment_id,
        parent_id=head.id,
        step=step,
        epoch=0.0,
        kind="checkpoint",
        state_digest="",
        settings={},
        param_groups=[],
    )
    record = spooled.record_of(
        name or leftovers.name_of(database, store),
        manifest,
        replace(new, **how),  # type: ignore[arg-type]
        [],
        "test",
        {"due": 1, "made": 1, "missed": []},
    )
    spool = spools.open_own(store.home)
    spool.add(tensors(), {}, record)
    spool.close()
    return manifest


@pytest.fixture
def head(sqlite_database: Database, store: Store) -> Node:
    return make_tree(sqlite_database, store).node("main", 3, kind="root")


def listed(database: Database, branch: str) -> list[Node]:
    with database.read() as connection:
        ids = [n for n in nodes.list_ids(connection)]
        found = [nodes.get(connection, node) for node in ids]
    return [node for node in found if node.branch_id == branch]


def events(database: Database, run: str) -> list[tuple[str, str, int | None]]:
    with database.read() as connection:
        assert audit.first_broken_seq(connection, run) is None
        return [(e.kind, e.state, e.step) for e in audit.since(connection, run)]


def test_a_commit_is_recorded_once_after_the_head(
    sqlite_database: Database, store: Store, head: Node
) -> None:
    manifest = leave(sqlite_database, store, head, 5)
    leave(sqlite_database, store, head, 6)
    words = spooled.finish(sqlite_database, store)
    assert "2 were uploaded to s3://" in words and "dropped" not in words
    first, second = listed(sqlite_database, head.branch_id)[1:]
    assert (first.step, first.parent_id) == (5, head.id)
    assert (second.step, second.parent_id) == (6, first.id)
    assert control.verify_node(sqlite_database, store, first).digest == manifest.digest
    assert spooled.finish(sqlite_database, store) == ""
    # The same again, as if the process had been killed before it forgot it.
    leave(sqlite_database, store, head, 6)
    spooled.finish(sqlite_database, store)
    assert len(listed(sqlite_database, head.branch_id)) == 3
    assert spools.waiting(store.home) == (0, 0)


@pytest.mark.parametrize("status", ["finished", "stopped"])
def test_a_training_that_failed_for_want_of_its_last_state_has_its_own_end_afterwards(
    sqlite_database: Database, store: Store, head: Node, status: str
) -> None:
    leave(sqlite_database, store, head, 5)
    leave(sqlite_database, store, head, 6, kind="final")
    why = f"Ann stopped it; {spooled.end_words(status, '2 commits wait')}"
    with sqlite_database.transaction() as connection:
        segments.end(connection, head.segment_id, "failed", actor="test", error=why)
    spooled.finish(sqlite_database, store)
    with sqlite_database.read() as connection:
        segment = segments.get(connection, head.segment_id)
    assert (segment.status, segment.error) == (status, None)
    assert events(sqlite_database, head.run_id)[-1][:2] == ("segment", status)


def test_a_training_that_failed_for_another_reason_stays_so(
    sqlite_database: Database, store: Store, head: Node
) -> None:
    leave(sqlite_database, store, head, 6, kind="final")
    with sqlite_database.transaction() as connection:
        segments.end(connection, head.segment_id, "failed", actor="test", error="It broke.")
    spooled.finish(sqlite_database, store)
    with sqlite_database.read() as connection:
        assert segments.get(connection, head.segment_id).error == "It broke."


def test_equal_tensors_are_uploaded_once(
    sqlite_database: Database, store: Store, head: Node
) -> None:
    for step in (5, 6):
        leave(sqlite_database, store, head, step)
    spooled.finish(sqlite_database, store)
    assert len(list(store.packs())) == 2


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"segment_id": "another"}, "continued from an earlier node"),
        ({"step": 2}, "continued from an earlier node"),
        ({"branch_id": "another"}, "its branch was removed"),
        ({"run_id": "another"}, "its branch was removed"),
    ],
)
def test_what_does_not_fit_any_more_is_dropped(
    how: dict[str, object],
    why: str,
    sqlite_database: Database,
    store: Store,
    head: Node,
    caplog: pytest.LogCaptureFixture,
) -> None:
    leave(sqlite_database, store, head, **{"step": 5, **how})  # type: ignore[arg-type]
    words = spooled.finish(sqlite_database, store)
    assert "1 dropped" in words and why in words and why in caplog.text
    assert listed(sqlite_database, head.branch_id) == [head]
    assert spools.waiting(store.home)[0] == 0
    if "run_id" not in how:
        step = how.get("step", 5)
        assert ("save", "missed", step) in events(sqlite_database, head.run_id)


def test_a_purged_run_takes_none(sqlite_database: Database, store: Store, head: Node) -> None:
    leave(sqlite_database, store, head, 5)
    with sqlite_database.transaction() as connection:
        connection.execute(run_rows.update().values(purged_at=1.0))
        assert runs.get_run(connection, head.run_id).purged_at == 1.0
    assert "its branch was removed" in spooled.finish(sqlite_database, store)


def test_damaged_bytes_are_never_recorded(
    sqlite_database: Database, store: Store, head: Node
) -> None:
    leave(sqlite_database, store, head, 5)
    (path,) = (store.home / spools.FOLDER).rglob("*.safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert "damaged" in spooled.finish(sqlite_database, store)
    assert listed(sqlite_database, head.branch_id) == [head]


def test_commits_of_another_database_are_left_to_it(
    sqlite_database: Database, store: Store, head: Node
) -> None:
    leave(sqlite_database, store, head, 5, name="another")
    assert spooled.finish(sqlite_database, store) == ""
    assert spools.waiting(store.home)[0] == 1


def test_a_record_of_nonsense_is_dropped(
    sqlite_database: Database, store: Store, head: Node
) -> None:
    spool = spools.open_own(store.home)
    name = leftovers.name_of(sqlite_database, store)
    spool.add(tensors(), {}, {"database": name, "node": {"step": "x"}, "manifest": {}})
    spool.close()
    assert "1 dropped" in spooled.finish(sqlite_database, store)
    assert spools.waiting(store.home)[0] == 0


def test_a_folder_has_nothing_to_finish(sqlite_database: Database, tmp_path: Path) -> None:
    assert spooled.finish(sqlite_database, open_store(tmp_path / "home" / "store")) == ""
