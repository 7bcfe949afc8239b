"""The file has exactly the members that it declares, and replaces nothing."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from branchtrack.bundles import container
from branchtrack.errors import InvalidInput, StorageError
from tests.bundles.files import forge, members_of, write_members

TENSOR = f"{'a' * 64}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with rows of one table and one tensor."""
    target = tmp_path / "b"
    container.write(
        target, {"run": "r", "tensors": 1}, {"runs": io.BytesIO(b"{}\n")}, [(TENSOR, b"bytes")]
    )
    return target


def read(path: Path) -> tuple[dict[str, Any], dict[str, container.Member]]:
    with path.open("rb") as file:
        return container.read(file, path)


def refused(path: Path) -> str:
    with pytest.raises(InvalidInput) as info:
        read(path)
    return info.value.what


def test_what_was_written_is_read(path: Path) -> None:
    header, members = read(path)
    assert header["run"] == "r" and header["format"] == container.FORMAT
    assert list(members) == ["bundle.json", "rows/runs.jsonl", f"tensors/{TENSOR}"]
    member = members[f"tensors/{TENSOR}"]
    assert path.read_bytes()[member.offset :][: member.nbytes] == b"bytes"


def test_only_its_owner_reads_it(path: Path) -> None:
    assert path.stat().st_mode & 0o077 == 0


def test_a_file_that_exists_is_not_replaced(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(InvalidInput, match="exists already"):
        container.write(path, {}, {}, [])
    assert path.read_bytes() == before and os.listdir(path.parent) == ["b"]


def test_a_file_system_without_links_gets_the_file_too(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", fail)
    target = path.parent / "c"
    container.write(target, {"tensors": 0}, {}, [])
    assert sorted(os.listdir(path.parent)) == ["b", "c"] and read(target)[0]["tensors"] == 0
    with pytest.raises(InvalidInput, match="exists already"):
        container.write(path, {}, {}, [])
    assert sorted(os.listdir(path.parent)) == ["b", "c"]


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    def tensors() -> Any:
        yield TENSOR, b"bytes"
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match="disk is full"):
        container.write(tmp_path / "b", {}, {}, tensors())
    assert os.listdir(tmp_path) == []


def test_a_file_cut_off_anywhere_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    last = max(member.offset + member.nbytes for member in read(path)[1].values())
    for length in [*range(0, last + 1, 256), last - 1, last + 1, len(whole) - 1]:
        path.write_bytes(whole[:length])
        assert "cannot be unbundled" in refused(path)


def test_what_follows_the_end_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    for more in (b"x", whole, bytes(20_000)):
        path.write_bytes(whole + more)
        assert "added to its end" in refused(path)


@pytest.mark.parametrize("content", [b"", b"text", bytes(10_240), b"\x1f\x8b" + bytes(1000)])
def test_another_file_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert "not a bundle" in refused(path) or "cut off" in refused(path)


def test_a_compressed_bundle_is_refused(path: Path) -> None:
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert "not a bundle" in refused(path)


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/passwd", "tensors/short", "tensors/../../x", "other", "x" * 150]
)
def test_a_member_with_another_name_is_refused(path: Path, name: str) -> None:
    forge(path, {**members_of(path), name: b""})
    assert "a member that no bundle has" in refused(path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.GNUTYPE_SPARSE])
def test_a_member_that_is_no_plain_file_is_refused(path: Path, kind: bytes) -> None:
    with tarfile.open(path, "a") as tar:
        member = tarfile.TarInfo(f"tensors/{'b' * 64}")
        member.type, member.linkname = kind, "/etc/passwd"
        tar.addfile(member)
    assert "cannot be unbundled" in refused(path)


def test_a_size_beyond_the_file_is_refused(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    with tarfile.open(path) as tar:
        member = tar.getmember(f"tensors/{TENSOR}")
    member.size = 1 << 60
    whole[member.offset : member.offset + 512] = member.tobuf(tarfile.GNU_FORMAT)
    path.write_bytes(whole)
    assert "cut off" in refused(path)


def test_a_member_that_is_there_twice_is_refused(path: Path) -> None:
    with tarfile.open(path, "a") as tar:
        member = tarfile.TarInfo(f"tensors/{TENSOR}")
        member.size = 5
        tar.addfile(member, io.BytesIO(b"bytes"))
    assert "cannot be unbundled" in refused(path)


def test_a_newer_format_is_refused(path: Path) -> None:
    forge(path, members_of(path), version=2)
    assert "format 2, and this version reads 1" in refused(path)


def test_a_member_that_the_header_does_not_name_is_refused(path: Path) -> None:
    members = members_of(path)
    write_members(path, {**members, "rows/nodes.jsonl": b"{}\n"})
    assert "not those that its header names" in refused(path)
    write_members(path, {name: members[name] for name in reversed(members)})
    assert "not a bundle" in refused(path)
