"""What killed processes left is removed, and nothing that somebody may still name."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from branchtrack import processes
from branchtrack.checkpoints.location import open_store
from branchtrack.checkpoints.manifest import TensorBytes, tensor_digest
from branchtrack.checkpoints.packs import Store
from branchtrack.checkpoints.remote.bucket import Bucket
from branchtrack.config import Config
from branchtrack.control import leftovers
from branchtrack.db import runs, seals, segments
from branchtrack.db.engine import Database
from branchtrack.db.tables import packs
from branchtrack.db.tables import segments as rows
from branchtrack.environment_variables import STORE_VARIABLE
from branchtrack.launching.worker import Worker
from tests.trees_for_tests import make_tree

HOUR, DAY = 3600.0, 86_400.0


@pytest.fixture
def gone() -> str:
    """The name of a process of this machine that runs no more."""
    host, pid, start = processes.own_name().split(":")
    return f"{host}:{pid}:{int(start) - 1}"


def age(path: Path, seconds: float) -> Path:
    os.utime(path, (time.time() - seconds, time.time() - seconds))
    return path


def temporary(store: Store, name: str, seconds: float) -> Path:
    folder = Path(store.describe()) / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"half")
    return age(folder / name, seconds)


def pack(store: Store, owner: dict[str, str], seconds: float, value: float = 1.0) -> Path:
    data = np.full(3, value, "<f4")
    tensor = TensorBytes("model/w", "F32", (3,), memoryview(data.tobytes()))
    digest = tensor_digest("F32", (3,), tensor.data)
    return age(Path(store.describe(store.put([(digest, tensor)], owner).id)), seconds)


def test_half_written_files_of_the_dead_are_removed(
    sqlite_database: Database, store: Store, gone: str
) -> None:
    dead = temporary(store, f"{gone}#1", HOUR)
    old = temporary(store, "0123456789abcdef", 2 * DAY)
    kept = [
        temporary(store, f"{gone}#2", 1.0),
        temporary(store, f"{processes.own_name()}#3", HOUR),
        temporary(store, "elsewhere:12:34#4", HOUR),
    ]
    told = leftovers.clear(sqlite_database, store)
    assert "2 half-written, 0 that no node names" in told
    assert not dead.exists() and not old.exists()
    assert all(path.exists() for path in kept)
    assert leftovers.clear(sqlite_database, store) == ""


def heartbeats(database: Database, process: str, seconds: float) -> None:
    """Have a process trained that was heard of last so many seconds ago."""
    with database.transaction() as connection:
        run = runs.create_run(connection, "killed", actor="test")
        branch = runs.create_branch(connection, run.id, "main")
        segment = segments.create(connection, run.id, branch.id, None, 0)
        last = {"process": process, "heartbeat_at": time.time() - seconds}
        connection.execute(
            rows.update().where(rows.c.id == segment.id).values(status="failed", **last)
        )


def test_a_pack_that_a_killed_commit_left_is_removed(
    sqlite_database: Database, store: Store, gone: str
) -> None:
    left = pack(store, leftovers.pack_owner(sqlite_database, store, gone), HOUR)
    heartbeats(sqlite_database, gone, HOUR)
    assert "1 that no node names" in leftovers.clear(sqlite_database, store)
    assert not left.exists()


def test_packs_are_kept_that_a_restored_database_has_forgotten(
    sqlite_database: Database, store: Store, gone: str
) -> None:
    left = pack(store, leftovers.pack_owner(sqlite_database, store, gone), HOUR)
    assert leftovers.clear(sqlite_database, store) == ""
    heartbeats(sqlite_database, gone, HOUR + 60)
    assert leftovers.clear(sqlite_database, store) == ""
    assert left.exists()


def test_packs_that_somebody_may_name_are_kept(
    sqlite_database: Database, store: Store, gone: str
) -> None:
    own = leftovers.pack_owner(sqlite_database, store, processes.own_name())
    dead = leftovers.pack_owner(sqlite_database, store, gone)
    other = {**dead, "branchtrack.database": "0123456789abcdef"}
    far = leftovers.pack_owner(sqlite_database, store, "elsewhere:12:34")
    kept = [
        pack(store, own, HOUR),
        pack(store, dead, 1.0, 2.0),
        pack(store, other, 9 * DAY),
        pack(store, far, HOUR),
        pack(store, {}, 9 * DAY),
    ]
    heartbeats(sqlite_database, gone, 0.0)
    assert leftovers.clear(sqlite_database, store) == ""
    assert all(path.exists() for path in kept)


def test_packs_of_nodes_are_kept_whoever_wrote_them(
    sqlite_database: Database, store: Store, gone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, put = leftovers.pack_owner(sqlite_database, store, gone), store.put
    monkeypatch.setattr(store, "put", lambda tensors, _: put(tensors, owner))
    make_tree(sqlite_database, store).node("main", 0, kind="root")
    (path,) = (Path(store.describe()) / "packs").rglob("*.safetensors")
    age(path, HOUR)
    assert leftovers.clear(sqlite_database, store) == ""
    assert path.exists()


def test_a_database_that_was_moved_with_its_home_is_the_same(
    sqlite_database: Database, store: Store, tmp_path: Path
) -> None:
    moved = Database(f"sqlite:///{tmp_path}/moved/branchtrack.db")
    names = [
        leftovers.pack_owner(sqlite_database, store, "a"),
        leftovers.pack_owner(moved, open_store(tmp_path / "moved" / "store"), "a"),
    ]
    moved.close()
    assert names[0] == names[1]


def test_a_worker_begins_with_it_and_says_so(
    sqlite_database: Database, sqlite_config: Config, store: Store, gone: str
) -> None:
    temporary(store, f"{gone}#1", HOUR)
    said: list[str] = []
    Worker(sqlite_database, sqlite_config, say=said.append).run(threading.Event(), once=True)
    assert "1 half-written" in said[0]


def test_a_pack_that_is_named_and_not_read_from_is_removed_with_its_name(
    sqlite_database: Database, store: Store, gone: str
) -> None:
    left = pack(store, leftovers.pack_owner(sqlite_database, store, gone), HOUR)
    heartbeats(sqlite_database, gone, HOUR)
    with sqlite_database.transaction() as connection:
        connection.execute(packs.insert().values(id=left.stem, nbytes=1, created_at=1.0))
        seals.renew(connection, packs, left.stem)
    assert "1 that no node names" in leftovers.clear(sqlite_database, store)
    with sqlite_database.read() as connection:
        assert connection.execute(select(packs)).all() == []
        assert list(seals.broken(connection, packs)) == []
    assert not left.exists()


def test_packs_of_the_dead_are_removed_from_a_bucket_by_its_own_ages(
    bucket: str,
    sqlite_database: Database,
    sqlite_config: Config,
    gone: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(STORE_VARIABLE, bucket)
    remote = open_store(sqlite_config.store)
    data = np.full(3, 1.0, "<f4")
    tensor = TensorBytes("model/w", "F32", (3,), memoryview(data.tobytes()))
    digest = tensor_digest("F32", (3,), tensor.data)
    ids = [
        remote.put([(digest, tensor)], leftovers.pack_owner(sqlite_database, remote, process)).id
        for process in (gone, processes.own_name(), "elsewhere:12:34")
    ]
    for process in (gone, processes.own_name(), "elsewhere:12:34"):
        heartbeats(sqlite_database, process, 0.0)
    assert leftovers.clear(sqlite_database, remote) == ""
    # An hour later by the clock of the endpoint.
    listed = [replace(item, age=HOUR) for item in remote.packs()]
    monkeypatch.setattr(Bucket, "list", lambda self: iter(listed))
    monkeypatch.setattr(time, "time", lambda now=time.time: now() + HOUR)
    assert "0 half-written, 1 that" in leftovers.clear(sqlite_database, remote)
    assert [remote.exists(pack) for pack in ids] == [False, True, True]
