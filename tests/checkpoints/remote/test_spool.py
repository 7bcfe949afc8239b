"""What waits for the bucket is durable, complete or absent, and left to others only once."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from branchtrack import processes
from branchtrack.checkpoints.manifest import Manifest
from branchtrack.checkpoints.packs import Store
from branchtrack.checkpoints.remote import spool as spools
from branchtrack.checkpoints.remote.cached import CachedBucket
from branchtrack.checkpoints.remote.pack_cache import PackCache
from branchtrack.checkpoints.remote.spool import Elsewhere, Spool
from branchtrack.errors import CheckpointDamaged, StorageError
from tests.checkpoints.memory import Memory
from tests.checkpoints.tensors_for_tests import ARRAYS, manifest_of, tensors

RECORD = {"node": {"step": 1}}
FIRST = dict(list(ARRAYS.items())[:3])
SECOND = dict(list(ARRAYS.items())[3:])


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = spools.open_own(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def bucket(tmp_path: Path) -> Store:
    """A store whose packs are elsewhere, with copies in this home."""
    backend = CachedBucket(Memory(), PackCache(tmp_path / "cache", 10**9))  # type: ignore[arg-type]
    return Store(backend, tmp_path)


def manifest() -> Manifest:
    return manifest_of(ARRAYS, {})


def test_a_commit_is_read_back_from_its_files(spool: Spool) -> None:
    commit = spool.add(tensors(), {}, RECORD)
    read = spool.tensors(manifest())
    assert {t.name: bytes(t.data) for t in read.values()} == {
        name: array.tobytes() for name, array in ARRAYS.items()
    }
    assert len(spool) == 1 and spool.nbytes > 0 and spool.commits() == [commit]
    spool.check(set(read))


def test_what_is_not_in_it_has_no_bytes(spool: Spool) -> None:
    spool.add(tensors(FIRST), {}, RECORD)
    read = spool.tensors(manifest()).values()
    assert {t.name for t in read if isinstance(t, Elsewhere)} == set(SECOND)
    assert all(t.nbytes == 0 for t in read if isinstance(t, Elsewhere))


def test_what_was_recorded_is_removed_and_its_pack_becomes_a_copy(
    spool: Spool, bucket: Store, tmp_path: Path
) -> None:
    commit = spool.add(tensors(), {}, RECORD)
    views = spool.tensors(manifest())
    pack = bucket.put(tensors(), {})
    spool.remove(commit, pack, bucket)
    assert len(spool) == 0 and spool.nbytes == 0 and spools.waiting(tmp_path) == (0, 0)
    (copy,) = (tmp_path / "cache" / "packs").rglob("*.safetensors")
    assert copy.stem == pack.id
    # What is still being read stays readable.
    assert all(bytes(view.data) is not None for view in views.values())


def test_what_another_commit_shares_outlives_the_one_that_is_given_up(
    spool: Spool, bucket: Store, tmp_path: Path
) -> None:
    first = spool.add(tensors(FIRST), {}, RECORD)
    spool.add(tensors(SECOND), {}, RECORD)
    spool.give_up(first, bucket)
    assert not any(isinstance(t, Elsewhere) for t in spool.tensors(manifest()).values())
    name = spool.folder
    os.close(spool._lock)
    spool._lock = -1
    (left,) = spools.abandoned(tmp_path)
    assert left.folder == name and left.read() == []
    (heir,) = left.commits()
    assert not any(isinstance(t, Elsewhere) for t in left.tensors(manifest()).values())
    left.remove(heir, None, bucket)
    left.close()
    assert not name.exists()


def test_a_process_that_lives_is_left_alone(spool: Spool, tmp_path: Path) -> None:
    spool.add(tensors(), {}, RECORD)
    assert list(spools.abandoned(tmp_path)) == []
    assert spools.waiting(tmp_path)[0] == 1


def test_one_that_is_gone_is_finished_by_one_other(spool: Spool, tmp_path: Path) -> None:
    spool.add(tensors(), {}, RECORD)
    spool.close()
    first = list(spools.abandoned(tmp_path))
    assert len(first) == 1 and list(spools.abandoned(tmp_path)) == []
    assert first[0].read() == [] and first[0].commits()[0].record == RECORD
    first[0].close()
    second = list(spools.abandoned(tmp_path))
    assert len(second) == 1
    second[0].close()


def test_a_child_that_was_forked_does_not_hold_the_lock(spool: Spool, tmp_path: Path) -> None:
    spool.add(tensors(), {}, RECORD)
    (begun, begins), (end, ends) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.write(begins, b"x")
        os.close(ends)
        os.read(end, 1)
        os._exit(0)
    os.read(begun, 1)
    # As if this process had been killed.
    os.close(spool._lock)
    spool._lock = -1
    other = list(spools.abandoned(tmp_path))
    assert len(other) == 1
    other[0].close()
    os.close(ends)
    os.waitpid(child, 0)
    for descriptor in (begun, begins, end):
        os.close(descriptor)


def test_a_pack_without_its_record_is_no_commit(spool: Spool, tmp_path: Path) -> None:
    spool.add(tensors(FIRST), {}, RECORD)
    next((spool.folder / "commits").iterdir()).unlink()
    os.close(spool._lock)
    spool._lock = -1
    (left,) = spools.abandoned(tmp_path)
    assert left.read() == [] and left.commits() == []
    left.close()
    assert not left.folder.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 9, "record": {}, "locations": []}'])
def test_a_record_that_cannot_be_read_is_named_and_kept(
    text: str, spool: Spool, tmp_path: Path
) -> None:
    spool.add(tensors(FIRST), {}, RECORD)
    spool.add(tensors(SECOND), {}, RECORD)
    path = spool.folder / "commits" / "00000001.json"
    path.write_text(text)
    spool.close()
    (left,) = spools.abandoned(tmp_path)
    assert left.read() == [str(path)] and len(left.commits()) == 1
    left.close()
    assert path.exists()


def test_damage_is_noticed_before_anything_is_uploaded(spool: Spool) -> None:
    spool.add(tensors(), {}, RECORD)
    (path,) = (spool.folder / "packs").rglob("*.safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointDamaged):
        spool.check(set(spool.digests))


def test_a_disk_that_fails_is_an_error_of_the_store(tmp_path: Path) -> None:
    (tmp_path / spools.FOLDER).write_text("a file where the folder should be")
    with pytest.raises(StorageError, match="Commits cannot wait") as caught:
        spools.open_own(tmp_path)
    assert caught.value.facts["path"].startswith(str(tmp_path))


def test_the_record_is_json_beside_a_lock(spool: Spool) -> None:
    spool.add([], {}, RECORD)
    (path,) = (spool.folder / "commits").iterdir()
    assert json.loads(path.read_text())["record"] == RECORD
    with (spool.folder / "alive").open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_on_a_disk_without_locks_the_name_says_whether_a_process_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = OSError(errno.ENOSYS, "Function not implemented")
    monkeypatch.setattr(fcntl, "flock", mock.Mock(side_effect=unknown))
    spool = spools.open_own(tmp_path)
    spool.add(tensors(), {}, RECORD)
    assert list(spools.abandoned(tmp_path)) == []
    host, pid, start = processes.own_name().split(":")
    spool.folder.rename(tmp_path / spools.FOLDER / f"{host}:{pid}:{int(start) - 1}#1")
    (left,) = spools.abandoned(tmp_path)
    assert left.read() == [] and len(left.commits()) == 1
    left.close()
    spool.close()
