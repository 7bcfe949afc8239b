"""Commits that wait on this machine until their tensors are in the bucket.

``<home>/spool/<process>/`` is written by one process: a pack with the new tensors of each commit,
and beside it ``commits/<number>.json`` with what has to be recorded once they are uploaded. Both
are durable before a commit counts as made here. The process holds a lock on the file ``alive`` for
as long as it lives, whatever kills it; another one that gets the lock finishes what it left. It
must not know SQL, nor what a record means.
"""

from __future__ import annotations

import errno
import fcntl
import json
import mmap
import os
import shutil
import threading
import time
import uuid
import weakref
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from branchtrack import permissions, processes
from branchtrack.checkpoints.folder import Folder, write_durably
from branchtrack.checkpoints.manifest import Manifest, TensorBytes
from branchtrack.checkpoints.packs import Pack, Store
from branchtrack.core.records import TensorLocation
from branchtrack.errors import BranchtrackError, StorageError

#: The folder of a home that holds the spools of its processes.
FOLDER = "spool"
_FORMAT = 1
_COMMITS, _ALIVE = "commits", "alive"
_HIDDEN = "."


class Elsewhere(TensorBytes):
    """A tensor of a commit that is not in the spool, for it was stored already: it has no bytes."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", memoryview(b""))


@dataclass(frozen=True)
class Commit:
    """A commit in a spool: its number, what is to be recorded, and where its new tensors are.

    ``at`` is the time of `time.monotonic` at which it was written or read here.
    """

    number: int
    record: dict[str, Any]
    locations: tuple[TensorLocation, ...]
    at: float = field(default_factory=time.monotonic, compare=False)

    @property
    def packs(self) -> set[str]:
        """The packs of the spool that this commit wrote."""
        return {location.pack for location in self.locations}


class Spool:
    """The spool of one process in ``folder``, which nobody else uses while this object lives.

    Locking: one thread adds commits and another removes them, each in one step of Python;
    ``changing`` is for callers that take several steps.
    """

    def __init__(self, folder: Path, lock: int) -> None:
        self.folder = folder
        self.changing = threading.Lock()
        self._lock = lock
        self._store = Store(Folder(folder), folder.parent.parent)
        self._commits: dict[int, Commit] = {}
        self._sizes: dict[str, int] = {}
        self._next = 1
        # A process that is forked from this one must not hold the lock after its end.
        reference = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _let_go(reference))

    def __len__(self) -> int:
        return len(self._commits)

    @property
    def nbytes(self) -> int:
        """The bytes of the packs that wait."""
        return sum(list(self._sizes.values()))

    @property
    def age(self) -> float:
        """The seconds for which the oldest commit has waited."""
        moments = [commit.at for commit in list(self._commits.values())]
        return time.monotonic() - min(moments) if moments else 0.0

    @property
    def digests(self) -> dict[str, TensorLocation]:
        """Where in this spool each tensor is that waits in it."""
        commits = list(self._commits.values())
        return {location.digest: location for item in commits for location in item.locations}

    def add(
        self,
        tensors: Sequence[tuple[str, TensorBytes]],
        metadata: Mapping[str, str],
        record: Mapping[str, Any],
    ) -> Commit:
        """Write a commit, durable once this returns; ``record`` is JSON.

        Raises:
            StorageError: the disk failed.
        """
        pack = self._store.put(tensors, metadata) if tensors else None
        commit = Commit(self._next, dict(record), pack.locations if pack else ())
        self._next += 1
        self._write_record(commit)
        if pack is not None:
            self._sizes[pack.id] = pack.nbytes
        self._commits[commit.number] = commit
        return commit

    def commits(self) -> list[Commit]:
        """Return the commits that wait, in the order in which they were made."""
        return [self._commits[number] for number in sorted(self._commits)]

    def tensors(self, manifest: Manifest) -> dict[str, TensorBytes]:
        """Return the tensors of a manifest by digest: those of the spool as views of its files.

        All others are `Elsewhere`.
        """
        digests, maps = self.digests, dict[str, memoryview]()
        tensors: dict[str, TensorBytes] = {}
        for entry in manifest.entries:
            if entry.digest in tensors:
                continue
            location = digests.get(entry.digest)
            shape = (entry.name, entry.dtype, entry.shape)
            if location is None:
                tensors[entry.digest] = Elsewhere(*shape, memoryview(b""))
                continue
            if location.pack not in maps:
                maps[location.pack] = self._mapped(location.pack)
            data = maps[location.pack][location.offset : location.offset + location.nbytes]
            # A pack that is gone from here was recorded a moment ago.
            is_here = len(data) == location.nbytes
            tensors[entry.digest] = (TensorBytes if is_here else Elsewhere)(*shape, data)
        return tensors

    def check(self, digests: Collection[str]) -> None:
        """Read the tensors of these digests that are here, and compare the digests.

        Raises:
            CheckpointMissing, CheckpointDamaged, StorageError: they are not what was written.
        """
        for digest, location in self.digests.items():
            if digest in digests:
                for _ in self._store.pieces(location):
                    pass

    def give_up(self, commit: Commit, bucket: Store) -> None:
        """Remove a commit that is never recorded; the next one keeps the tensors they may share.

        Raises:
            StorageError: the disk failed; nothing was removed.
        """
        later = [item for item in self.commits() if item.number > commit.number]
        if later:
            listed = {location.digest for location in later[0].locations}
            more = [item for item in commit.locations if item.digest not in listed]
            heir = replace(later[0], locations=(*later[0].locations, *more))
            self._write_record(heir)
            self._commits[heir.number] = heir
        self.remove(commit, None, bucket)

    def remove(self, commit: Commit, uploaded: Pack | None, bucket: Store) -> None:
        """Remove a commit that was recorded, and the packs that no other one needs.

        A pack that is now in the bucket under the same name becomes its copy on this machine.
        """
        self._commits.pop(commit.number, None)
        self._path(commit.number).unlink(missing_ok=True)
        for pack in commit.packs - self._needed():
            self._sizes.pop(pack, None)
            path = Path(self._store.describe(pack))
            if bucket.copies is not None and uploaded is not None and uploaded.id == pack:
                bucket.copies.adopt(pack, path)
            else:
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the folder: what waits is left to others; an empty one is removed."""
        if self._lock < 0:
            return
        if not self._commits:
            # Nobody may find it without a lock and begin to read it.
            shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):
            fcntl.flock(self._lock, fcntl.LOCK_UN)
        os.close(self._lock)
        self._lock = -1

    def read(self) -> list[str]:
        """Read the commits that another process left here; return those that cannot be read."""
        unreadable = []
        for path in sorted((self.folder / _COMMITS).glob("*.json")):
            try:
                content = json.loads(path.read_bytes())
                locations = tuple(
                    TensorLocation(**{**item, "shape": tuple(item["shape"])})
                    for item in content["locations"]
                )
                if content["format"] != _FORMAT or not isinstance(content["record"], dict):
                    raise ValueError(content["format"])
                commit = Commit(int(path.stem), content["record"], locations)
            except (OSError, ValueError, TypeError, LookupError):
                unreadable.append(str(path))
                continue
            self._commits[commit.number] = commit
            for pack in commit.packs:
                with suppress(OSError, BranchtrackError):
                    self._sizes[pack] = Path(self._store.describe(pack)).stat().st_size
        return unreadable

    def _write_record(self, commit: Commit) -> None:
        content = {
            "format": _FORMAT,
            "record": commit.record,
            "locations": [asdict(location) for location in commit.locations],
        }
        try:
            text = json.dumps(content, separators=(",", ":")).encode()
            write_durably(self.folder, self._path(commit.number), [text])
        except OSError as error:
            raise _unusable(self.folder, error) from error

    def _needed(self) -> set[str]:
        """Return the packs whose tensors a commit that still waits may need."""
        return {pack for commit in list(self._commits.values()) for pack in commit.packs}

    def _mapped(self, pack: str) -> memoryview:
        path = self._store.describe(pack)
        try:
            with open(path, "rb") as file:
                return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except FileNotFoundError:
            return memoryview(b"")
        except (OSError, ValueError) as error:
            raise _unusable(self.folder, OSError(5, f"{path} cannot be read: {error}")) from error

    def _path(self, number: int) -> Path:
        return self.folder / _COMMITS / f"{number:08d}.json"


def open_own(home: Path) -> Spool:
    """Return a new spool for this process.

    Raises:
        StorageError: the home cannot be written.
    """
    root, mode = home / FOLDER, permissions.of_home(home)
    name = f"{processes.own_name()}#{uuid.uuid4().hex[:8]}".replace("/", "_")
    # Under a name that nobody looks for until it is locked.
    fresh = root / f"{_HIDDEN}{name}"
    try:
        home.mkdir(mode=mode, parents=True, exist_ok=True)
        permissions.make_folder(root, mode)
        permissions.make_folder(fresh, mode)
        lock = permissions.create(fresh / _ALIVE, os.O_RDWR | os.O_CREAT, mode)
        _lock(lock)
        os.rename(fresh, root / name)
    except OSError as error:
        raise _unusable(root / name, error) from error
    return Spool(root / name, lock)


def waiting(home: Path) -> tuple[int, int]:
    """Return how many commits of all processes wait in a home, and the bytes of their packs."""
    root = home / FOLDER
    packs = list(root.glob("*/packs/*/*.safetensors"))
    nbytes = 0
    for path in packs:
        with suppress(OSError):
            nbytes += path.stat().st_size
    return sum(1 for _ in root.glob(f"*/{_COMMITS}/*.json")), nbytes


def abandoned(home: Path) -> Iterator[Spool]:
    """Yield the spools of processes that are gone, the oldest first; close each.

    A spool that another process is about to finish is passed over.
    """
    folders = []
    for path in (home / FOLDER).glob(f"*/{_ALIVE}"):
        with suppress(OSError):
            if not path.parent.name.startswith(_HIDDEN):
                folders.append((path.stat().st_mtime_ns, path.parent))
    for _, folder in sorted(folders):
        with suppress(OSError):
            lock = os.open(folder / _ALIVE, os.O_RDWR | os.O_CLOEXEC)
            is_ours = _lock(lock)
            if is_ours is None:
                is_ours = processes.is_gone(folder.name)
            if is_ours and folder.exists():
                yield Spool(folder, lock)
            else:
                os.close(lock)


def _lock(file: int) -> bool | None:
    """Lock a file unless another process has; return None if its disk knows no such locks.

    Then the name of a process tells whether it is gone. Of two that finish the same spool at once
    each sees in its transactions what the other one has recorded.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return None if error.errno in (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK) else False
    return True


def _let_go(reference: weakref.ref[Spool]) -> None:
    spool = reference()
    if spool is not None and spool._lock >= 0:
        os.close(spool._lock)
        spool._lock = -1


def _unusable(folder: Path, error: OSError) -> StorageError:
    what = f"Commits cannot wait in {folder} for the bucket: {error.strerror or error}."
    return StorageError(
        what,
        safe="Nodes already listed are untouched.",
        fix="Free some space there, or check its permissions.",
        path=str(folder),
        errno=error.errno,
    )
