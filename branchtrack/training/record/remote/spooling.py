"""Commits of a training whose packs go to a bucket: kept on this machine first, uploaded later.

As soon as a commit is durable here its buffers are free again, so that training never waits for the
network. The rest of the commit, the same as for a folder, runs in the thread of the uploads with
the tensors of the spool instead of those of the buffers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from branchtrack import store_address
from branchtrack.checkpoints import files
from branchtrack.checkpoints.manifest import TensorBytes, tensor_digest
from branchtrack.checkpoints.packs import Pack, Store
from branchtrack.checkpoints.remote import spool as spools
from branchtrack.checkpoints.remote.spool import Commit, Elsewhere, Spool
from branchtrack.control import leftovers
from branchtrack.control.store import spooled
from branchtrack.core.records import NewNode
from branchtrack.db import nodes
from branchtrack.db.engine import Database
from branchtrack.errors import CheckpointMissing, StorageError
from branchtrack.training.record.commits import Digested
from branchtrack.training.steer.answers import Answer

#: Seconds after which what was written is read from the disk again, which may have changed it.
_IN_MEMORY = 60.0


@dataclass(frozen=True)
class Waiting:
    """A commit that is durable on this machine; ``digested`` needs no buffer any more."""

    commit: Commit
    digested: Digested


class Spooling:
    """The spool of one training; ``owner`` is the metadata of its packs.

    Locking: commits are kept by one thread and settled by another. None is given up while another
    is being kept, which may share its tensors; ``_gone`` is replaced whole.
    """

    def __init__(self, database: Database, store: Store, owner: Mapping[str, str]) -> None:
        self._database, self._store, self._owner = database, store, dict(owner)
        self._name = leftovers.name_of(database, store)
        self._limit = store_address.spool_bytes()
        self._spool: Spool | None = None
        self._gone: frozenset[str] = frozenset()

    @property
    def words(self) -> str:
        """What waits, in words, or an empty text."""
        spool = self._spool
        if spool is None or not len(spool):
            return ""
        return (
            f"{len(spool)} commits wait in {spool.folder} until {self._store.describe()} takes "
            "them: the next training in this home uploads them, or `branchtrack storage --upload`"
        )

    def keep(
        self,
        digested: Digested,
        new: NewNode,
        answers: Sequence[Answer],
        actor: str,
        saves: Mapping[str, Any] | None,
    ) -> Waiting:
        """Make a commit durable on this machine, without asking the bucket anything.

        What earlier commits of the spool hold is not written again.

        Raises:
            StorageError: the disk or the database failed, or the spool is full.
        """
        spool = self._spool = self._spool or spools.open_own(self._store.home)
        with spool.changing:
            return self._keep(spool, digested, new, answers, actor, saves)

    def _keep(
        self,
        spool: Spool,
        digested: Digested,
        new: NewNode,
        answers: Sequence[Answer],
        actor: str,
        saves: Mapping[str, Any] | None,
    ) -> Waiting:
        manifest, tensors = digested
        fresh = self._unstored(spool, tensors)
        nbytes = sum(content.nbytes for _, content in fresh)
        # The state that training ends in can be kept nowhere else.
        is_last = new.kind == "final"
        if len(spool) and spool.nbytes + nbytes > self._limit and not is_last:
            raise StorageError(
                f"{len(spool)} commits wait in {spool.folder} for {self._store.describe()}, as "
                f"many as may ({spool.nbytes:,} bytes).",
                safe="Training continues, and what waits is kept.",
                fix="Check the bucket (`branchtrack storage --check`), or let more wait: "
                "BRANCHTRACK_STORE_SPOOL.",
                path=str(spool.folder),
            )
        record = spooled.record_of(
            self._name, manifest, new, [_as_json(answer) for answer in answers], actor, saves
        )
        commit = spool.add(fresh, self._owner, record)
        try:
            return Waiting(commit, (manifest, spool.tensors(manifest)))
        except StorageError:
            # It is tried again, as another one.
            spool.give_up(commit, self._store)
            raise

    def check(self, fresh: Sequence[tuple[str, TensorBytes]]) -> None:
        """Check that what has to be uploaded is here.

        Raises:
            CheckpointMissing: some of it was stored when the commit was made, and has been removed
                since; the next commit is made whole.
            CheckpointDamaged: the disk has not kept it as it was.
        """
        gone = {digest for digest, content in fresh if isinstance(content, Elsewhere)}
        if gone:
            self._gone |= gone
            raise CheckpointMissing(
                f"{len(gone)} tensors that the commit shares with earlier nodes were removed from "
                f"{self._store.describe()} before it was uploaded.",
                safe="Other nodes are untouched.",
                fix="The next checkpoint is stored whole.",
                path=self._store.describe(),
            )
        if self._spool is not None and self._spool.age > _IN_MEMORY:
            for digest, content in fresh:
                if tensor_digest(content.dtype, content.shape, content.data) != digest:
                    self._gone |= {digest}
                    raise files.damaged(
                        str(self._spool.folder), content.name, "it changed while it waited"
                    )

    def settle(self, waiting: Waiting, pack: Pack | None, *, recorded: bool) -> None:
        """Remove a commit that was recorded, or will never be.

        If the disk fails, whoever reads the spool later sees that the branch has gone on.
        """
        assert self._spool is not None
        with suppress(OSError, StorageError):
            if recorded:
                self._gone -= {item.digest for item in waiting.commit.locations}
                self._spool.remove(waiting.commit, pack, self._store)
            else:
                with self._spool.changing:
                    self._spool.give_up(waiting.commit, self._store)

    def close(self) -> None:
        """Leave what waits to other processes."""
        if self._spool is not None:
            self._spool.close()

    def _unstored(
        self, spool: Spool, tensors: Mapping[str, TensorBytes]
    ) -> list[tuple[str, TensorBytes]]:
        """Return the tensors that are neither recorded nor wait here."""
        with self._database.read() as connection:
            stored = nodes.packs_of(connection, tensors).keys() - self._gone
        # What is recorded between these lines is written again, which does no harm.
        waits = spool.digests.keys() - self._gone
        return [
            (digest, content)
            for digest, content in tensors.items()
            if digest not in stored and digest not in waits
        ]


def _as_json(answer: Answer) -> dict[str, Any]:
    return {
        "request": answer.request.id,
        "state": answer.state,
        "before": answer.before,
        "applied": answer.applied,
        "error": answer.error,
        "result": answer.result,
    }
