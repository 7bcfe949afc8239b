"""Packs in a bucket are read from copies where there are any, and fetched when it pays."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from branchtrack import store_address
from branchtrack.checkpoints.packs import Pack, Store
from branchtrack.checkpoints.remote import cached
from branchtrack.checkpoints.remote.bucket import Bucket
from branchtrack.checkpoints.remote.bucket_errors import BucketError
from branchtrack.checkpoints.remote.cached import CachedBucket
from branchtrack.checkpoints.remote.pack_cache import PackCache
from branchtrack.errors import CheckpointDamaged, StorageError
from tests.checkpoints.tensors_for_tests import tensor, tensors

LARGE = {f"model/{number}": np.full(250_000, number, "<f4") for number in range(20)}


class Counted(Bucket):
    """A bucket that counts the bytes that are read from it."""

    transferred = 0

    def range(self, pack: str, start: int, length: int) -> bytes:
        self.transferred += length
        return super().range(pack, start, length)


@pytest.fixture
def there(bucket: str) -> Counted:
    return Counted(store_address.parse(bucket))


def store_of(there: Bucket, folder: Path, limit: int = 10**9) -> Store:
    return Store(CachedBucket(there, PackCache(folder / "cache", limit)), folder)


def large(there: Bucket, tmp_path: Path) -> Pack:
    """A pack of 20 tensors of 1 MB."""
    pack = store_of(there, tmp_path / "writer").put(
        [tensor(name, array) for name, array in LARGE.items()], {}
    )
    assert pack.nbytes > 20_000_000
    return pack


def test_a_short_pack_is_fetched_once(there: Counted, tmp_path: Path) -> None:
    pack = store_of(there, tmp_path).put(tensors(), {})
    for _ in range(2):
        store = store_of(there, tmp_path)
        for location in pack.locations:
            store.read(location)
    assert there.transferred == pack.nbytes


def test_one_tensor_of_a_long_pack_is_read_alone(there: Counted, tmp_path: Path) -> None:
    pack = large(there, tmp_path)
    store_of(there, tmp_path).read(pack.locations[7])
    assert there.transferred < 1_200_000


def test_whoever_reads_on_gets_a_copy_of_a_long_pack(there: Counted, tmp_path: Path) -> None:
    pack = large(there, tmp_path)
    store = store_of(there, tmp_path)
    for location in pack.locations:
        store.read(location)
    assert there.transferred < 1.3 * pack.nbytes
    before = there.transferred
    for location in pack.locations:
        store_of(there, tmp_path).read(location)
    assert there.transferred == before


def test_without_room_for_copies_everything_is_read_from_the_bucket(
    there: Counted, tmp_path: Path
) -> None:
    pack = large(there, tmp_path)
    store = store_of(there, tmp_path, limit=1000)
    for location in pack.locations:
        store.read(location)
    assert not (tmp_path / "cache").exists()


def test_a_disk_that_is_full_only_means_no_copy(there: Counted, tmp_path: Path) -> None:
    pack = store_of(there, tmp_path).put(tensors(), {})
    full = OSError(errno.ENOSPC, "No space left on device")
    with mock.patch.object(cached.os, "pwrite", side_effect=full):
        for location in pack.locations:
            store_of(there, tmp_path).read(location)


def test_a_damaged_copy_is_dropped_and_read_again(there: Counted, tmp_path: Path) -> None:
    pack = store_of(there, tmp_path).put(tensors(), {})
    for location in pack.locations:
        store_of(there, tmp_path).read(location)
    (path,) = (tmp_path / "cache" / "packs").rglob("*.safetensors")
    for position in (20, os.path.getsize(path) - 1):
        content = bytearray(path.read_bytes())
        content[position] ^= 1
        path.write_bytes(content)
        store = store_of(there, tmp_path)
        for location in pack.locations:
            store.read(location)
    path.write_bytes(path.read_bytes()[:-1])
    last = max(pack.locations, key=lambda location: location.offset)
    store = store_of(there, tmp_path)
    with pytest.raises(CheckpointDamaged):
        list(store.pieces(last))
    assert b"".join(store.pieces(last)) == bytes(store.read(last))


def test_a_damaged_pack_is_told_although_a_copy_is_whole(there: Counted, tmp_path: Path) -> None:
    store = store_of(there, tmp_path)
    pack = store.put(tensors(), {})
    for location in pack.locations:
        store.read(location)
    with there.open(pack.id) as file:
        content = bytearray(file.read())
    content[-1] ^= 1
    there.put(pack.id, [bytes(content)])
    assert len(list(store.verify(pack.locations))) == 1
    store.put(tensors(), {})
    assert list(store.verify(pack.locations)) == []


def test_a_bucket_that_is_away_is_an_error_of_the_store(
    there: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(there, tmp_path)
    pack = store.put(tensors(), {})
    away = BucketError(errno.EHOSTUNREACH, "the endpoint cannot be reached", "Look.")
    for name in ("size", "range", "exists", "list", "put", "unfinished"):
        monkeypatch.setattr(Bucket, name, mock.Mock(side_effect=away))
    monkeypatch.setattr(Counted, "range", mock.Mock(side_effect=away))
    fresh = store_of(there, tmp_path)
    for attempt in (
        lambda: fresh.read(pack.locations[0]),
        lambda: fresh.exists(pack.id),
        lambda: list(fresh.packs()),
        lambda: list(fresh.unfinished()),
        lambda: fresh.put(tensors(), {}),
    ):
        with pytest.raises(StorageError, match="cannot be reached") as caught:
            attempt()
        assert caught.value.facts["path"].startswith("s3://") and "Look." in str(caught.value)


def test_the_home_is_told_before_the_first_pack(there: Counted, tmp_path: Path) -> None:
    told = mock.Mock()
    backend = CachedBucket(there, PackCache(tmp_path / "cache", 0), told)
    backend.exists("0" * 32)
    told.assert_not_called()
    Store(backend, tmp_path).put(tensors(), {})
    told.assert_called_once_with()
