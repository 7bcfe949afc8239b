"""Errors about packs say the way out, and writes are complete however little a call takes."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from branchtrack.checkpoints import files
from branchtrack.errors import StorageError


@pytest.mark.parametrize(
    ("number", "way_out"),
    [
        (errno.ENOSPC, "free some space on it, or move the home"),
        (errno.EROFS, "permissions"),
        (errno.EIO, "Check the disk"),
    ],
)
def test_a_disk_that_fails_is_reported_with_what_to_do(number: int, way_out: str) -> None:
    error = files.unusable("s3://bucket/packs/1", OSError(number, os.strerror(number)))
    assert way_out in error.fix
    assert error.facts == {"path": "s3://bucket/packs/1", "errno": number}


def test_a_missing_pack_is_named_with_the_tensor_that_was_needed() -> None:
    assert "packs/1 is missing, wanted for 'model/w'." in files.missing("packs/1", "model/w").what
    assert files.missing("packs/1", "").what.endswith("packs/1 is missing.")


def test_without_a_tensor_it_is_the_header_that_is_damaged() -> None:
    assert "its header: too short" in files.damaged("packs/1", "", "too short").what
    assert "tensor 'model/w'" in files.damaged("packs/1", "model/w", "too short").what


def test_every_byte_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:1]))
    file = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    files.write_all(file, [b"ab", b"", memoryview(b"cde")])
    os.close(file)
    assert (tmp_path / "file").read_bytes() == b"abcde"


def test_a_failing_disk_is_an_error_that_names_the_file() -> None:
    with pytest.raises(StorageError, match="bundle cannot be used"), files.translated("bundle"):
        raise OSError(errno.EIO, "Input/output error")
