"""Durable writes: complete or absent, few fsyncs, and a way out when the disk fails."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import numpy as np
import pytest

from branchtrack.errors import (
    StorageError,
)
from tests.checkpoints.tensors_for_tests import stored


def everything_under(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_files_are_readable_as_their_store_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    store, pack = stored(tmp_path)
    assert stat.S_IMODE(Path(store.describe(pack.id)).stat().st_mode) == 0o640
    assert stat.S_IMODE(Path(store.describe(pack.id)).parent.stat().st_mode) == 0o750


def test_a_commit_costs_at_most_three_fsyncs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(tmp_path)
    synced: list[int] = []
    fsync = os.fsync

    def counted(file: int) -> None:
        synced.append(file)
        fsync(file)

    monkeypatch.setattr(os, "fsync", counted)
    for number in range(5):
        synced.clear()
        stored(tmp_path, {"model/weight": np.full(64, number)})
        assert 2 <= len(synced) <= 3


def test_the_file_is_durable_before_it_has_its_name_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(tmp_path)
    events: list[str] = []
    fsync, replace_file = os.fsync, os.replace

    def watched_fsync(file: int) -> None:
        events.append("folder" if stat.S_ISDIR(os.fstat(file).st_mode) else "file")
        fsync(file)

    def watched_replace(source: Path, target: Path) -> None:
        events.append("rename")
        replace_file(source, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    stored(tmp_path, {"model/weight": np.ones(3)})
    assert events[:3] == ["file", "rename", "folder"]


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
@pytest.mark.parametrize(
    ("number", "way_out"),
    [
        (errno.ENOSPC, "free some space on it, or move the home"),
        (errno.EACCES, "permissions"),
        (errno.EIO, "disk"),
    ],
)
def test_a_disk_that_fails_leaves_no_file_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, way_out: str
) -> None:
    stored(tmp_path)
    before = everything_under(tmp_path)

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(StorageError, match=way_out) as caught:
        stored(tmp_path, {"model/weight": np.ones(3)})
    assert caught.value.facts["errno"] == number
    assert caught.value.facts["path"].startswith(str(tmp_path))
    assert everything_under(tmp_path) == before


def test_a_write_that_takes_a_byte_at_a_time_is_carried_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:1]))
    store, pack = stored(tmp_path)
    assert list(store.verify(pack.locations)) == []


def test_an_interrupted_write_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    stored_before = everything_under(tmp_path)
    (tmp_path / "packs").mkdir()
    with pytest.raises(KeyboardInterrupt):
        stored(tmp_path)
    assert everything_under(tmp_path) == stored_before


def test_a_file_that_cannot_be_read_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, pack = stored(tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(StorageError, match="permissions"):
        store.read(pack.locations[0])
    assert len(list(store.verify(pack.locations))) == len(pack.locations)
