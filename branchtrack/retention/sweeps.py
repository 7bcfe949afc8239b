"""A sweep: marks checkpoints as thinned, then collects the tensors that none needs any more.

Both parts are done in short transactions, each of which leaves a record that is true; a sweep that
is interrupted anywhere is finished by the next one. A file is deleted only in a transaction that
sees that nothing is read from it, and commits hold sweeps off in theirs, where they see that all
they rely on is there: so neither takes anything from the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from branchtrack.checkpoints.manifest import TensorBytes
from branchtrack.checkpoints.packs import Store
from branchtrack.core import actors
from branchtrack.core.actors import Actor
from branchtrack.core.records import Run, TensorLocation
from branchtrack.db import runs
from branchtrack.db.engine import Database
from branchtrack.db.storage import references, sizes, thinning
from branchtrack.errors import CheckpointError
from branchtrack.retention import plans
from branchtrack.retention.plans import Plan
from branchtrack.retention.policies import Policy

#: Checkpoints marked, packs forgotten, and packs deleted, in one transaction. In a bucket each
#: deletion is a request, for which other writers wait.
_MARKED, _BATCH, _DELETED = 1000, 200, 25
#: Called with what is done and what is to be done.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Swept:
    """What a sweep did: its plan, the bytes of files that it freed, and packs it could not read."""

    plan: Plan
    freed_bytes: int
    unreadable: tuple[str, ...] = ()


class Sweep:
    """One sweep of a run; what it collects may have been left by sweeps of others.

    ``owner`` is the metadata of the packs that it writes, see `checkpoints.leftovers.owner`.
    """

    def __init__(
        self,
        database: Database,
        store: Store,
        owner: Mapping[str, str],
        actor: Actor | str,
        progress: Progress = lambda done, total: None,
    ) -> None:
        self._database, self._store = database, store
        self._owner, self._who, self._progress = dict(owner), actors.of(actor), progress
        self._is_away = False

    def run(self, run: Run, policy: Policy) -> Swept:
        """Record the policy, mark what it thins, and collect.

        Raises:
            Forbidden: the actor may not do this; nothing was changed.
            StorageError, ReadOnlyHome: the database failed or can only be read. What was done is
            complete; sweeping again does the rest.
        """
        actors.check(self._who, "retain", ["gc"])
        self._database.check_writable()
        with self._database.read() as connection:
            plan = plans.plan(connection, run.id, policy)
        with self._database.transaction() as connection:
            run = runs.get_run(connection, run.id)
            thinning.set_policy(connection, run, policy.as_json(), self._who.label)
        self._mark(plan)
        freed, unreadable = self.collect()
        if plan.left:
            self._log(plan, freed)
        return Swept(plan, freed, tuple(unreadable))

    def collect(self) -> tuple[int, list[str]]:
        """Free all bytes that no checkpoint needs; return them, and packs that cannot be read."""
        with self._database.read() as connection:
            seen = references.states(connection)
            doomed = set(plans.garbage(connection))
            members: dict[str, list[str]] = {}
            for digest, pack, _ in sizes.tensor_sizes(connection):
                members.setdefault(pack, []).append(digest)
        touched = {p: d for p, d in members.items() if not doomed.isdisjoint(d)}
        dead = [pack for pack, digests in touched.items() if doomed.issuperset(digests)]
        mixed = [pack for pack in touched if pack not in set(dead)]
        total, freed, unreadable = len(touched), 0, list[str]()
        for first in range(0, len(dead), _BATCH):
            batch = dead[first : first + _BATCH]
            with self._database.transaction() as connection:
                thinning.lock_store(connection)
                doomed -= _still_needed(connection, seen)
                empty = [d for p in batch if doomed.issuperset(touched[p]) for d in touched[p]]
                thinning.forget_tensors(connection, empty)
            freed += self._delete_unread()
            self._progress(min(first + _BATCH, len(dead)), total)
        for number, pack in enumerate(mixed):
            try:
                freed -= self._rewrite(pack, seen, doomed)
            except CheckpointError:
                unreadable.append(pack)
            freed += self._delete_unread()
            self._progress(len(dead) + number + 1, total)
        self._forget_unheld()
        return freed + self._delete_unread(), unreadable

    def _forget_unheld(self) -> None:
        """Remove checkpoints that a purge has left, once their tensors are gone or others'."""
        with self._database.read() as connection:
            if not references.unheld(connection):
                return
        with self._database.transaction() as connection:
            thinning.lock_store(connection)
            left = plans.garbage(connection).keys()
            unheld = references.unheld(connection)
            gone = [item.checkpoint for item in unheld if left.isdisjoint(item.tensors)]
            thinning.forget_checkpoints(connection, gone)

    def _mark(self, plan: Plan) -> None:
        """Mark checkpoints as thinned, those that are still to be in each transaction's eyes."""
        planned = sorted(plan.left)
        for first in range(0, len(planned), _MARKED):
            batch = planned[first : first + _MARKED]
            with self._database.transaction() as connection:
                thinning.lock_store(connection)
                commits, chosen = plans.decide(connection, plan.run.id, plan.policy)
                current = plans.to_thin(commits, chosen)
                left = {d: plan.left[d] for d in batch if current.get(d) == plan.left[d]}
                thinning.mark(connection, left)

    def _rewrite(self, pack: str, seen: dict[str, str | None], doomed: set[str]) -> int:
        """Move what is needed of a pack into a new one, and forget the rest; return its bytes.

        Raises:
            CheckpointError: the pack is missing or damaged; it stays as it is.
        """
        with self._database.read() as connection:
            locations = thinning.in_pack(connection, pack)
        needed = [location for location in locations if location.digest not in doomed]
        if not needed or len(needed) == len(locations):
            return 0
        content = [(location.digest, self._content(location)) for location in needed]
        planned = self._store.plan(content, self._owner)
        with self._database.transaction() as connection:
            thinning.lock_store(connection)
            thinning.announce(connection, (planned.id, planned.nbytes))
        self._store.put(content, self._owner)
        with self._database.transaction() as connection:
            thinning.lock_store(connection)
            doomed -= _still_needed(connection, seen)
            unchanged = thinning.in_pack(connection, pack) == locations
            gone = {location.digest for location in locations} - dict(content).keys()
            if unchanged and gone <= doomed and self._store.exists(planned.id):
                # Another sweep may have found it empty, and forgotten its name.
                thinning.announce(connection, (planned.id, planned.nbytes))
                thinning.move(connection, planned.locations)
                thinning.forget_tensors(connection, gone)
                return planned.nbytes
        return 0

    def _content(self, location: TensorLocation) -> TensorBytes:
        data = memoryview(self._store.read(location))
        return TensorBytes(location.name, location.dtype, location.shape, data)

    def _delete_unread(self) -> int:
        """Delete the packs that nothing is read from; return their bytes."""
        with self._database.read() as connection:
            ids = [pack for pack, _ in thinning.unread(connection)]
        freed = 0
        for first in range(0, len(ids), _DELETED):
            batch = set(ids[first : first + _DELETED])
            with self._database.transaction() as connection:
                thinning.lock_store(connection)
                unread = [pack for pack in thinning.unread(connection) if pack[0] in batch]
                deleted = [pack for pack in unread if self._delete(pack[0])]
                thinning.forget_packs(connection, [pack for pack, _ in deleted])
            freed += sum(nbytes for _, nbytes in deleted)
        return freed

    def _delete(self, pack: str) -> bool:
        """Delete the file of a pack; return whether there is none now."""
        if self._is_away:
            return False
        try:
            self._store.delete(pack)
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            # The next sweep tries again: its row stays. An endpoint that does not answer must not
            # be waited for once for each pack.
            self._is_away = self._store.copies is not None
            return False
        return True

    def _log(self, plan: Plan, freed: int) -> None:
        counts = {kind: list(plan.left.values()).count(kind) for kind in ("recipe", "weights")}
        payload = {"policy": plan.policy.as_json(), **counts, "freed_bytes": freed}
        with self._database.transaction() as connection:
            thinning.log_sweep(connection, plan.run.id, self._who.label, payload)


def _still_needed(connection: Connection, seen: dict[str, str | None]) -> set[str]:
    """Return what checkpoints need that are new, or whole again, since ``seen``; note them."""
    current = references.states(connection)
    fresh = {digest for digest, state in current.items() if seen.get(digest, "") != state}
    seen.update(current)
    listed = references.of_all(connection, only=fresh) if fresh else ()
    return {digest for reference in listed for digest in reference.tensors}
