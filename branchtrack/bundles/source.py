"""An opened bundle: everything in it checked as far as that is possible without a database.

Whoever wrote the file may have written anything: each row must be one of its table, of the one run,
and refer to rows that are there; the chain of events must be whole; manifests and texts must have
their digests, and the tensors be those that the manifests need.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from branchtrack.bundles import container
from branchtrack.bundles.checks import Checks
from branchtrack.bundles.rows import TABLES, BadRow, decoded
from branchtrack.checkpoints import files
from branchtrack.checkpoints.manifest import Entry, Manifest, TensorBytes, tensor_hasher
from branchtrack.core.names import valid_name
from branchtrack.db import audit
from branchtrack.db.schema_head import HEAD
from branchtrack.db.storage import references
from branchtrack.errors import BranchtrackError, InvalidInput

#: Bytes of a manifest or a text once it is decompressed, and of a line.
_MOST, _LINE = 1 << 29, 1 << 29
_CHUNK = 1 << 20
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Carried:
    """A checkpoint of a bundle: what of it is carried, and the tensors of that, by digest."""

    digest: str
    thinned: str | None
    entries: dict[str, Entry]


@dataclass
class Bundle:
    """A bundle that is open for reading; `check` comes first, and `close` last.

    ``checkpoints`` are in the order of the nodes, ``links`` are the hashes of the run's events.
    """

    path: Path
    run_id: str = ""
    run_name: str = ""
    header: dict[str, Any] = field(default_factory=dict)
    checkpoints: list[Carried] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    _members: dict[str, container.Member] = field(default_factory=dict)
    _file: BinaryIO | None = None

    def __enter__(self) -> Bundle:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def check(self, progress: Progress = lambda done, total: None) -> None:
        """Open the file and read all of it; ``progress`` gets the bytes of tensors done and all.

        Raises:
            InvalidInput: it is not a whole bundle that this version can read.
            StorageError: the file cannot be read.
        """
        try:
            self._file = self.path.open("rb")
            self.header, self._members = container.read(self._file, self.path)
            schema = str(self.header.get("schema"))
            if not schema.isdigit() or schema > HEAD:
                raise self.refused(
                    f"it has schema {schema[:20]}, and this version works with {HEAD}; "
                    "upgrade branchtrack"
                )
            self._check_rows()
            self._check_tensors(progress)
        except FileNotFoundError as error:
            raise self.refused("there is no such file") from error
        except OSError as error:
            raise files.unusable(self.path, error) from error
        except (zlib.error, TypeError, ValueError, LookupError, OverflowError) as error:
            raise self.refused("it holds values that no bundle has") from error

    def refused(self, why: str) -> InvalidInput:
        """Return the error for a file that is not a whole bundle."""
        return container.refused(self.path, why)

    def rows(self, table: str) -> Iterator[dict[str, Any]]:
        """Yield the rows of a table in the order in which they were written.

        Raises:
            InvalidInput: one is none.
        """
        member = self._members.get(f"{container.ROWS}{table}.jsonl")
        assert self._file is not None
        position, end = (member.offset, member.offset + member.nbytes) if member else (0, 0)
        number = 0
        while position < end:
            self._file.seek(position)
            line = self._file.readline(min(_LINE, end - position))
            position += len(line)
            number += 1
            try:
                yield decoded(TABLES[table], line)
            except BadRow as error:
                raise self.refused(f"row {number} of {table} in it: {error}") from error

    def tensor(self, entry: Entry) -> TensorBytes:
        """Return a tensor that the bundle carries.

        Raises:
            InvalidInput: the file was changed since it was checked.
        """
        member = self._members[f"{container.TENSORS}{entry.digest}"]
        assert self._file is not None
        self._file.seek(member.offset)
        data = memoryview(self._file.read(member.nbytes))
        hasher = tensor_hasher(entry.dtype, entry.shape)
        hasher.update(data)
        if hasher.hexdigest() != entry.digest:
            raise self.refused(f"tensor {entry.digest[:12]} in it is not as it was written")
        return TensorBytes(entry.name, entry.dtype, entry.shape, data)

    def _check_rows(self) -> None:
        unknown = {name for name in self._members if name.startswith(container.ROWS)} - {
            f"{container.ROWS}{name}.jsonl" for name in TABLES
        }
        if unknown:
            raise self.refused(f"it has rows of other tables: {', '.join(sorted(unknown))[:200]}")
        (run,) = self.rows("runs")
        self.run_id, self.run_name = run["id"], valid_name(run["name"])
        if self.header.get("run") != {"id": self.run_id, "name": self.run_name}:
            raise self.refused("its header names another run than its rows")
        if not isinstance(self.header.get("weights"), bool):
            raise self.refused("its header does not say whether it has weights")
        checks = Checks(self.run_id)
        for name in TABLES:
            for row in self.rows(name):
                if why := checks.fault(name, row):
                    raise self.refused(why)
                if name == "checkpoints":
                    self.checkpoints.append(self._carried(row))
                elif name == "texts":
                    self._check_text(row)
                elif name == "events":
                    self._check_event(row)
        if why := checks.missing():
            raise self.refused(why)
        if self.links[-1:] != [self.header.get("head")]:
            raise self.refused("its header names another last event than its rows")

    def _carried(self, row: dict[str, Any]) -> Carried:
        digest, thinned = row["digest"], row["thinned"]
        content = self._inflated(row["manifest"])
        try:
            manifest = Manifest.from_json(json.loads(content))
            is_proved = manifest.digest == digest
        except BranchtrackError as error:
            raise self.refused(f"checkpoint {digest[:12]} in it: {error.what}") from error
        is_level = thinned in (None, references.RECIPE, references.WEIGHTS)
        if not (is_proved and is_level) or row["tensors"] != len(manifest.entries):
            raise self.refused(f"checkpoint {digest[:12]} in it does not have its digest")
        counted = set(references.tensors_of(row["manifest"], thinned))
        entries = {entry.digest: entry for entry in reversed(manifest.entries)}
        carried = {name: entry for name, entry in entries.items() if name in counted}
        return Carried(digest, thinned, dict(reversed(carried.items())))

    def _check_text(self, row: dict[str, Any]) -> None:
        if hashlib.sha256(self._inflated(row["body"])).hexdigest() != row["digest"]:
            raise self.refused(f"text {row['digest'][:12]} in it does not have its digest")

    def _inflated(self, body: bytes) -> bytes:
        inflater = zlib.decompressobj()
        content = inflater.decompress(body, _MOST)
        if not inflater.eof or inflater.unused_data:
            raise self.refused("it holds compressed values that are too large, or cut off")
        return content

    def _check_event(self, row: dict[str, Any]) -> None:
        previous = self.links[-1] if self.links else audit.GENESIS
        if row["seq"] != len(self.links) + 1 or row["hash"] != audit.link(previous, row):
            raise self.refused(f"event {len(self.links) + 1} in it is not as it was written")
        self.links.append(row["hash"])

    def _check_tensors(self, progress: Progress) -> None:
        """Read every tensor, and check that they are those that the checkpoints need."""
        entries = {d: entry for each in self.checkpoints for d, entry in each.entries.items()}
        names = {name for name in self._members if name.startswith(container.TENSORS)}
        if names != {f"{container.TENSORS}{digest}" for digest in entries}:
            raise self.refused("its tensors are not those that its checkpoints need")
        total, done = sum(entry.nbytes for entry in entries.values()), 0
        assert self._file is not None
        for digest, entry in entries.items():
            member = self._members[f"{container.TENSORS}{digest}"]
            hasher, left = tensor_hasher(entry.dtype, entry.shape), member.nbytes
            self._file.seek(member.offset)
            while left and (piece := self._file.read(min(left, _CHUNK))):
                hasher.update(piece)
                left -= len(piece)
            if member.nbytes != entry.nbytes or hasher.hexdigest() != digest:
                raise self.refused(f"tensor {digest[:12]} in it is not as it was written")
            done += member.nbytes
            progress(done, total)
