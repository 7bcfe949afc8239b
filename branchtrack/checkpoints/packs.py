"""The store of tensors: each commit writes one safetensors file, a pack, that never changes.

A pack's id is the digest of its header, and its header holds the digests of its tensors, so the
name of a pack proves all of it. It must not know SQL, runs or torch: the caller stores
`TensorLocation`s, which say where its tensors are. Nor does it know where packs are: a `Backend`
does.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from io import BufferedReader
from itertools import groupby
from pathlib import Path

from branchtrack.checkpoints import files
from branchtrack.checkpoints.backend import Backend, Chunk, Copies, ListedPack
from branchtrack.checkpoints.headers import (
    BadHeader,
    Header,
    Slot,
    build,
    lay_out,
    parse,
    read_raw,
)
from branchtrack.checkpoints.manifest import TensorBytes, tensor_digest, tensor_hasher
from branchtrack.core.records import TensorLocation, WrittenPack
from branchtrack.errors import (
    BranchtrackError,
    CheckpointDamaged,
    CheckpointError,
    InvalidInput,
    StorageError,
)

PACK_FORMAT = "branchtrack-pack-1"
FORMAT_KEY = "branchtrack.format"
DIGESTS_KEY = "branchtrack.digests"

_ID = re.compile(r"[0-9a-f]{32}")
_CHUNK = 1 << 20
_CACHED_HEADERS = 64


#: A pack as written, with one location per digest.
Pack = WrittenPack


@dataclass(frozen=True)
class Problem:
    """A tensor that cannot be read back as it was stored, and why."""

    location: TensorLocation
    path: str
    what: str


Progress = Callable[[int, int], None]


class Store:
    """The packs in a backend, read with their digests checked; as durable as the backend is.

    ``home`` is the folder of the home that the store is part of.
    """

    def __init__(self, backend: Backend, home: Path) -> None:
        self.home = home
        self._backend = backend
        self._headers: dict[str, Header] = {}

    def describe(self, pack: str | None = None) -> str:
        """Return the location of a pack, existing or not, or of the store if none is given.

        Raises:
            InvalidInput: ``pack`` is not the id of a pack (32 hex characters).
        """
        return self._backend.describe(None if pack is None else _checked_id(pack))

    @property
    def copies(self) -> Copies | None:
        """Copies on this machine of packs that are elsewhere; None if the packs are here."""
        return self._backend.copies

    def exists(self, pack: str) -> bool:
        """Return whether a pack exists, without reading it.

        Raises:
            StorageError: the storage does not say.
        """
        with files.translated(self.describe(pack)):
            return self._backend.exists(_checked_id(pack))

    def is_present(self) -> bool:
        """Return whether the storage of the store exists."""
        return self._backend.is_present()

    def packs(self) -> Iterator[ListedPack]:
        """Yield every pack with its age, whether a node names it or not.

        Raises:
            StorageError: the storage cannot be listed.
        """
        with files.translated(self.describe()):
            yield from self._backend.list()

    def delete(self, pack: str) -> None:
        """Remove a pack.

        Raises:
            OSError: it does not exist, or cannot be removed.
        """
        self._backend.delete(_checked_id(pack))

    def unfinished(self) -> Iterator[ListedPack]:
        """Yield every unfinished file; see `Backend.unfinished`.

        Raises:
            StorageError: as `packs`.
        """
        with files.translated(self.describe()):
            yield from self._backend.unfinished()

    def delete_unfinished(self, is_abandoned: Callable[[str, float], bool]) -> int:
        """Remove unfinished files; see `Backend.delete_unfinished`.

        Raises:
            StorageError: as `packs`.
        """
        with files.translated(self.describe()):
            return self._backend.delete_unfinished(is_abandoned)

    def put(self, tensors: Sequence[tuple[str, TensorBytes]], metadata: Mapping[str, str]) -> Pack:
        """Write tensors as one pack, durable once this returns.

        The same content gives the same pack again, and repairs a damaged one. A digest given twice
        is written once.

        Args:
            tensors: pairs of (digest from `tensor_digest`, tensor).
            metadata: text by name, stored in the header and covered by the pack's id.

        Raises:
            InvalidInput: a name twice, a reserved name, or a header over 100 MB.
            StorageError: the disk is full, not writable or failed; no file is left.
        """
        pack, chunks = self._laid_out(tensors, metadata)
        try:
            self._backend.put(pack.id, chunks)
        except OSError as error:
            raise files.unusable(self.describe(pack.id), error) from error
        return pack

    def plan(self, tensors: Sequence[tuple[str, TensorBytes]], metadata: Mapping[str, str]) -> Pack:
        """Return the pack that `put` would write, without writing it.

        Raises:
            InvalidInput: as `put`.
        """
        return self._laid_out(tensors, metadata)[0]

    def discard(self, pack: str) -> None:
        """Remove a pack of this process that no record names; or leave it to `leftovers`."""
        with suppress(OSError):
            self.delete(pack)

    def metadata(self, pack: str) -> dict[str, str]:
        """Return the metadata of a pack, both the caller's and the store's; it is not proved.

        Raises:
            CheckpointMissing, CheckpointDamaged, StorageError: its header cannot be read.
        """
        with self._opened(pack, "", source=True) as file:
            try:
                nbytes = _length(file)
                return parse(read_raw(file, nbytes), nbytes).metadata
            except BadHeader as error:
                raise files.damaged(self.describe(pack), "", str(error)) from error

    def read(self, location: TensorLocation) -> bytearray:
        """Return the bytes of one tensor, their digest checked.

        Returns:
            Little-endian data of ``location.nbytes`` bytes, owned by the caller.

        Raises:
            CheckpointMissing: there is no such pack.
            CheckpointDamaged: the header, the position or the content is not what was stored.
            StorageError: the file cannot be read.
        """
        try:
            return self._read(location)
        except CheckpointDamaged:
            if not self._drop_copy(location.pack):
                raise
            return self._read(location)

    def _read(self, location: TensorLocation) -> bytearray:
        path = self.describe(location.pack)
        with self._opened(location.pack, location.name) as file:
            header = self._header(file, location.pack, path)
            _check_place(header, location, path)
            content = bytearray(location.nbytes)
            file.seek(location.offset)
            length = file.readinto(content)
        if (
            length != location.nbytes
            or tensor_digest(location.dtype, location.shape, content) != location.digest
        ):
            raise files.damaged(path, location.name, "its bytes differ from what was stored")
        return content

    def pieces(self, location: TensorLocation, size: int = _CHUNK) -> Iterator[bytes]:
        """Yield the bytes of one tensor in pieces of a size, for tensors of any length.

        The digest is known at the end only: what was made of the pieces holds if nothing is raised.

        Raises:
            CheckpointMissing, CheckpointDamaged, StorageError: as `read`.
        """
        try:
            yield from self._pieces(location, size)
        except CheckpointDamaged:
            # Whoever reads it again reads the pack itself.
            self._drop_copy(location.pack)
            raise

    def _pieces(self, location: TensorLocation, size: int) -> Iterator[bytes]:
        path = self.describe(location.pack)
        with self._opened(location.pack, location.name) as file:
            header = self._header(file, location.pack, path)
            _check_place(header, location, path)
            hasher = tensor_hasher(location.dtype, location.shape)
            file.seek(location.offset)
            left = location.nbytes
            while left and len(piece := file.read(min(left, size))) == min(left, size):
                hasher.update(piece)
                left -= len(piece)
                yield piece
        if left or hasher.hexdigest() != location.digest:
            raise files.damaged(path, location.name, "its bytes differ from what was stored")

    def verify(
        self, locations: Iterable[TensorLocation], progress: Progress | None = None
    ) -> Iterator[Problem]:
        """Read everything again, in pieces of 1 MiB, and yield what is not as it was stored.

        Args:
            locations: the tensors to check; the header of each pack is checked with them.
            progress: called with (bytes done, bytes in all) after each tensor.

        Yields:
            one problem per tensor; for a missing pack or a damaged header, all its tensors.
        """
        ordered = sorted(locations, key=lambda location: (location.pack, location.offset))
        total, done = sum(location.nbytes for location in ordered), 0
        for pack, members in groupby(ordered, key=lambda location: location.pack):
            for location, error in self._verify_pack(pack, list(members)):
                if error is not None:
                    yield Problem(location, self.describe(pack), error.what)
                done += location.nbytes
                if progress is not None:
                    progress(done, total)

    def check_pack(self, pack: str, nbytes: int) -> None:
        """Check a pack but for the content of its tensors: it exists, with its length and header.

        Its cost does not depend on the sizes of the tensors; `read` checks their digests.

        Args:
            nbytes: its length as it was recorded.

        Raises:
            CheckpointMissing, CheckpointDamaged, StorageError.
        """
        path = self.describe(pack)
        with self._opened(pack, "", source=True) as file:
            file_bytes = _length(file)
            try:
                if _pack_id(read_raw(file, file_bytes)) != pack:
                    raise BadHeader("its bytes differ from what was stored")
            except BadHeader as error:
                raise files.damaged(path, "", str(error)) from error
        if file_bytes != nbytes:
            what = f"it has {file_bytes} bytes, and {nbytes} were stored"
            raise files.damaged(path, "", what)

    def _laid_out(
        self, tensors: Sequence[tuple[str, TensorBytes]], metadata: Mapping[str, str]
    ) -> tuple[Pack, list[Chunk]]:
        """Return a pack of these tensors, and its bytes in pieces."""
        unique = {digest: tensor for digest, tensor in reversed(tensors)}
        digests = {tensor.name: digest for digest, tensor in unique.items()}
        if len(digests) != len(unique) or {FORMAT_KEY, DIGESTS_KEY} & metadata.keys():
            names = [tensor.name for tensor in unique.values()]
            raise InvalidInput("tensors", names, "distinct names, and no metadata of the store's")
        slots = lay_out((t.name, t.dtype, t.shape) for t in unique.values())
        reserved = {FORMAT_KEY: PACK_FORMAT, DIGESTS_KEY: json.dumps(digests, sort_keys=True)}
        header = build(slots, {**metadata, **reserved})
        pack = _pack_id(header.raw)
        chunks: list[Chunk] = [header.raw]
        chunks += [unique[digests[slot.name]].data for slot in slots]
        locations = tuple(_location(pack, digests[s.name], s, header) for s in slots)
        return Pack(pack, header.file_bytes, locations), chunks

    @contextmanager
    def _opened(self, pack: str, tensor: str, *, source: bool = False) -> Iterator[BufferedReader]:
        """Open a pack for reading, from its ``source`` or a copy; ``tensor`` is named in errors.

        Raises:
            CheckpointMissing: there is no such pack.
            StorageError: it cannot be read.
        """
        path, copies = self.describe(pack), self._backend.copies
        try:
            if copies is not None and source:
                opened: AbstractContextManager[BufferedReader] = copies.open_source(pack)
            else:
                opened = self._backend.open(pack)
            with opened as file:
                yield file
        except (FileNotFoundError, NotADirectoryError) as error:
            raise files.missing(path, tensor) from error
        except OSError as error:
            raise files.unusable(path, error) from error

    def _verify_pack(
        self, pack: str, members: list[TensorLocation]
    ) -> Iterator[tuple[TensorLocation, BranchtrackError | None]]:
        """Yield each bad tensor of one pack with its error; if the header is bad, all of them."""
        path = self.describe(pack)
        try:
            with self._opened(pack, "", source=True) as file:
                header = _checked_header(file, pack, path)
                for location in members:
                    yield location, _damage(file, header, location, path)
        except (CheckpointError, StorageError) as error:
            yield from ((location, error) for location in members)

    def _header(self, file: BufferedReader, pack: str, path: str) -> Header:
        """Return the header of a pack, read once: packs never change, so one check is enough."""
        header = self._headers.get(pack)
        if header is None:
            header = _checked_header(file, pack, path)
            if len(self._headers) >= _CACHED_HEADERS:
                self._headers = {}
            self._headers[pack] = header
        return header

    def _drop_copy(self, pack: str) -> bool:
        """Drop the copy of a pack on this machine, which is damaged; return whether it was one."""
        self._headers.pop(pack, None)
        copies = self._backend.copies
        return copies is not None and copies.drop(pack)


def _checked_id(pack: str) -> str:
    if not _ID.fullmatch(pack):
        raise InvalidInput("pack", pack, "32 hex characters")
    return pack


def _pack_id(header: bytes) -> str:
    return hashlib.sha256(header).hexdigest()[:32]


def _location(pack: str, digest: str, slot: Slot, header: Header) -> TensorLocation:
    """Return a slot in the form of records, its offset counted from the start of the file."""
    offset, nbytes = header.data_start + slot.begin, slot.end - slot.begin
    return TensorLocation(digest, pack, slot.name, slot.dtype, slot.shape, offset, nbytes)


def _checked_header(file: BufferedReader, pack: str, path: str) -> Header:
    """Return the header at the start of a pack, proved by the pack's id.

    Raises:
        CheckpointDamaged: the header or the length of the pack is not as it was written.
    """
    file_bytes = _length(file)
    try:
        raw = read_raw(file, file_bytes)
        if _pack_id(raw) != pack:
            raise BadHeader("its bytes differ from what was stored")
        return parse(raw, file_bytes)
    except BadHeader as error:
        raise files.damaged(path, "", str(error)) from error


def _length(file: BufferedReader) -> int:
    """Return the length of a pack in bytes, and go to its start."""
    file_bytes = file.seek(0, os.SEEK_END)
    file.seek(0)
    return file_bytes


def _check_place(header: Header, location: TensorLocation, path: str) -> None:
    """Check, before memory is allocated, that the header agrees with the record.

    Raises:
        CheckpointDamaged: it does not.
    """
    slot = header.slots.get(location.name)
    if slot is None or _location(location.pack, location.digest, slot, header) != location:
        raise files.damaged(path, location.name, "the header places it elsewhere")


def _damage(
    file: BufferedReader, header: Header, location: TensorLocation, path: str
) -> BranchtrackError | None:
    """Return what is wrong with a tensor, reading it in pieces to use little memory."""
    try:
        _check_place(header, location, path)
        hasher = tensor_hasher(location.dtype, location.shape)
        file.seek(location.offset)
        left = location.nbytes
        while left and (piece := file.read(min(left, _CHUNK))):
            hasher.update(piece)
            left -= len(piece)
    except CheckpointError as error:
        return error
    except OSError as error:
        return files.unusable(path, error)
    if left or hasher.hexdigest() != location.digest:
        return files.damaged(path, location.name, "its bytes differ from what was stored")
    return None
