"""The tensors of a bundle, written as packs of the home that it arrives in.

A pack is named in the record before it is written, as a sweep names its own: if this process is
killed, the next sweep deletes it, since nothing is read from it. A sweep that runs meanwhile may do
so, too; what it took is written again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

from sqlalchemy import Connection

from branchtrack.bundles.source import Bundle, Carried
from branchtrack.checkpoints.manifest import Entry
from branchtrack.checkpoints.packs import Pack, Store
from branchtrack.db import nodes
from branchtrack.db.engine import Database
from branchtrack.db.storage import packs as pack_rows
from branchtrack.db.storage import thinning

#: Bytes of tensors in one pack, which are in memory together, unless one alone has more.
PACK_BYTES = 1 << 28
Progress = Callable[[int, int], None]


class Arrivals:
    """The packs that one process writes for a bundle; ``owner`` is their metadata."""

    def __init__(
        self, database: Database, store: Store, bundle: Bundle, owner: Mapping[str, str]
    ) -> None:
        self._database, self._store, self._bundle = database, store, bundle
        self._owner = dict(owner)
        self.packs: dict[str, Pack] = {}

    def write(self, lacking: Collection[Carried], progress: Progress) -> None:
        """Write what the home lacks of checkpoints, and what has been deleted again meanwhile.

        Raises:
            InvalidInput: the file has changed. StorageError: the disk or the database failed.
        """
        missing = self.missing(lacking)
        total, done = sum(entry.nbytes for entry in missing.values()), 0
        for group in _groups(lacking, missing):
            content = [(entry.digest, self._bundle.tensor(entry)) for entry in group]
            planned = self._store.plan(content, self._owner)
            with self._database.transaction() as connection:
                thinning.announce(connection, (planned.id, planned.nbytes))
            self.packs[planned.id] = planned
            self._store.put(content, self._owner)
            done += sum(entry.nbytes for entry in group)
            progress(done, total)

    def missing(
        self, lacking: Collection[Carried], connection: Connection | None = None
    ) -> dict[str, Entry]:
        """Return the tensors that are neither stored nor in a pack of this process, by digest."""
        needed = {digest: entry for each in lacking for digest, entry in each.entries.items()}
        if connection is None:
            with self._database.read() as reading:
                recorded = nodes.packs_of(reading, needed)
        else:
            recorded = nodes.packs_of(connection, needed)
        there = {pack for pack in {*recorded.values(), *self.packs} if self._store.exists(pack)}
        stored = {digest for digest, pack in recorded.items() if pack in there}
        for pack in there & self.packs.keys():
            stored.update(location.digest for location in self.packs[pack].locations)
        return {digest: entry for digest, entry in needed.items() if digest not in stored}

    def record(self, connection: Connection) -> None:
        """Name the packs and what is read from them, in the transaction that needs them."""
        for pack in self.packs.values():
            if not self._store.exists(pack.id):
                continue
            digests = [location.digest for location in pack.locations]
            recorded = set(nodes.packs_of(connection, digests).values())
            gone = [name for name in recorded if not self._store.exists(name)]
            pack_rows.add(connection, (pack.id, pack.nbytes), pack.locations, gone)

    def withdraw(self) -> None:
        """Delete the packs that nothing is read from."""
        if not self.packs:
            return
        with self._database.transaction() as connection:
            thinning.lock_store(connection)
            unread = {name for name, _ in thinning.unread(connection)} & self.packs.keys()
            for name in unread:
                self._store.discard(name)
            thinning.forget_packs(connection, unread)
            for name in self.packs.keys() - unread - pack_rows.ids(connection):
                self._store.discard(name)


def _groups(lacking: Collection[Carried], missing: Mapping[str, Entry]) -> Iterator[list[Entry]]:
    """Yield tensors that make a pack: of one checkpoint, so that their names are distinct."""
    written: set[str] = set()
    for checkpoint in lacking:
        group: list[Entry] = []
        for digest in checkpoint.entries:
            if digest not in missing or digest in written:
                continue
            entry = checkpoint.entries[digest]
            written.add(digest)
            if group and sum(each.nbytes for each in group) + entry.nbytes > PACK_BYTES:
                yield group
                group = []
            group.append(entry)
        if group:
            yield group
