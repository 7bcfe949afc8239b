"""The file of a bundle: an uncompressed tar of a header, rows by table, and tensors by digest.

The header comes first, and has length and SHA-256 of each member with rows; a tensor is named by
its digest. Nothing is ever extracted to a path: members are read where they lie in the file, which
must have exactly the members that it declares. It must not know SQL.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

from branchtrack.checkpoints import files
from branchtrack.errors import InvalidInput

FORMAT, VERSION = "branchtrack-bundle", 1
HEADER, ROWS, TENSORS = "bundle.json", "rows/", "tensors/"
_TENSOR = re.compile(r"tensors/[0-9a-f]{64}")
#: Bytes of a header at most.
_MOST = 1 << 22
_CHUNK = 1 << 20
_DIGEST = "sha256"


@dataclass(frozen=True)
class Member:
    """Where a member's bytes lie in the file."""

    offset: int
    nbytes: int


def refused(path: Path, why: str) -> InvalidInput:
    """Return the error for a file that is no bundle, or not a whole one."""
    return InvalidInput(
        "file",
        str(path),
        "a file that `branchtrack bundle` wrote, whole and unchanged: copy it again, and compare",
        what=f"{path} cannot be unbundled: {why}.",
    )


def write(
    path: Path,
    header: Mapping[str, Any],
    rows: Mapping[str, IO[bytes]],
    tensors: Iterable[tuple[str, bytes | bytearray]],
) -> int:
    """Write a bundle durably, and return its bytes; ``rows`` are files of lines by table.

    Raises:
        InvalidInput: there is such a file already.
        StorageError: the disk failed; no file is left.
    """
    try:
        number, draft = tempfile.mkstemp(dir=path.parent, prefix=".bundle-")
        try:
            with open(number, "wb") as file:
                _fill(file, header, rows, tensors)
                file.flush()
                os.fsync(file.fileno())
                nbytes = file.tell()
            _publish(draft, path)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(draft)
    except FileExistsError as error:
        raise taken(path) from error
    except OSError as error:
        raise files.unusable(path, error) from error
    return nbytes


def taken(path: Path) -> InvalidInput:
    """Return the error for a file that would be replaced."""
    what = f"{path} exists already."
    return InvalidInput("file", str(path), "a file that does not exist yet", what=what)


def read(file: BinaryIO, path: Path) -> tuple[dict[str, Any], dict[str, Member]]:
    """Return the header of a bundle and its members by name, all but the tensors' bytes proved.

    Raises:
        InvalidInput: it is no bundle, of a newer format, or not as it was written.
    """
    size = file.seek(0, os.SEEK_END)
    members = _members(file, path, size)
    first = next(iter(members), None)
    if first != HEADER or members[HEADER].nbytes > _MOST:
        raise refused(path, "it is not a bundle")
    header = _header(_bytes(file, members[HEADER]), path)
    try:
        declared = {str(name): (int(n), str(digest)) for name, n, digest in header["members"]}
        tensors = int(header["tensors"])
    except (TypeError, ValueError, LookupError) as error:
        raise refused(path, "its header is incomplete") from error
    present = [name for name in members if not name.startswith(TENSORS)]
    if present != [HEADER, *declared] or len(members) - len(present) != tensors:
        raise refused(path, "its members are not those that its header names; it may be cut off")
    for name, (nbytes, digest) in declared.items():
        if members[name].nbytes != nbytes or _digest(file, members[name]) != digest:
            raise refused(path, f"{name} in it is not as it was written")
    return header, members


def _publish(draft: str, path: Path) -> None:
    """Give a finished file its name, durably."""
    try:
        # A link, unlike a rename, never replaces what is there.
        os.link(draft, path)
    except FileExistsError:
        raise
    except OSError as error:
        # Memory sticks have no links.
        if os.path.lexists(path):
            raise FileExistsError(str(path)) from error
        os.rename(draft, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _fill(
    draft: IO[bytes],
    header: Mapping[str, Any],
    rows: Mapping[str, IO[bytes]],
    tensors: Iterable[tuple[str, bytes | bytearray]],
) -> None:
    declared: list[tuple[str, int, str]] = []
    for name, lines in rows.items():
        whole = Member(0, lines.seek(0, os.SEEK_END))
        declared.append((f"{ROWS}{name}.jsonl", whole.nbytes, _digest(lines, whole)))
    content = {
        "format": FORMAT,
        "version": VERSION,
        **header,
        "members": declared,
    }
    body = json.dumps({**content, _DIGEST: _own_digest(content)}).encode()
    with tarfile.open(fileobj=draft, mode="w", format=tarfile.GNU_FORMAT) as tar:
        _add(tar, HEADER, len(body), io.BytesIO(body))
        for (name, nbytes, _), lines in zip(declared, rows.values(), strict=True):
            lines.seek(0)
            _add(tar, name, nbytes, lines)
        for digest, data in tensors:
            _add(tar, f"{TENSORS}{digest}", len(data), io.BytesIO(data))


def _add(tar: tarfile.TarFile, name: str, nbytes: int, content: IO[bytes]) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = nbytes, 0o600
    tar.addfile(member, content)


def _members(file: BinaryIO, path: Path, size: int) -> dict[str, Member]:
    """Return every member by name; the file has nothing else in it."""
    members: dict[str, Member] = {}
    end = 0
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                name = member.name
                is_plain = member.type == tarfile.REGTYPE and not member.pax_headers
                is_ours = name == HEADER or name.startswith(ROWS) or _TENSOR.fullmatch(name)
                if not is_plain or not is_ours or name in members or member.offset != end:
                    raise refused(path, f"it has a member that no bundle has: {name[:80]!r}")
                if member.size < 0 or member.offset_data + member.size > size:
                    raise refused(path, "it is cut off")
                members[name] = Member(member.offset_data, member.size)
                end = member.offset_data + -(-member.size // 512) * 512
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise refused(path, "it is not a bundle, or it is cut off") from error
    records = -(-(end + 2 * tarfile.BLOCKSIZE) // tarfile.RECORDSIZE)
    file.seek(end)
    if size != records * tarfile.RECORDSIZE or file.read().strip(b"\0"):
        raise refused(path, "it is cut off, or something was added to its end")
    return members


def _header(body: bytes, path: Path) -> dict[str, Any]:
    header: Any = None
    with suppress(ValueError, RecursionError):
        header = json.loads(body)
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise refused(path, "it is not a bundle")
    version = header.get("version")
    if version != VERSION:
        raise refused(path, f"it has format {version!r}, and this version reads {VERSION}")
    if header.pop(_DIGEST, None) != _own_digest(header):
        raise refused(path, "its header is not as it was written")
    return header


def _own_digest(header: Mapping[str, Any]) -> str:
    text = json.dumps(header, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _bytes(file: BinaryIO, member: Member) -> bytes:
    file.seek(member.offset)
    return file.read(member.nbytes)


def _digest(file: IO[bytes], member: Member) -> str:
    hasher, left = hashlib.sha256(), member.nbytes
    file.seek(member.offset)
    while left and (piece := file.read(min(left, _CHUNK))):
        hasher.update(piece)
        left -= len(piece)
    return hasher.hexdigest()
