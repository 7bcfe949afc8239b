"""Nodes that several ranks make together: what each holds, in one manifest and one transaction.

    each rank         hashes what it holds                   -> part
    rank 0            looks up what the store lacks          -> write: who writes which tensors
    each rank         writes its own pack                    -> pack
    rank 0            hashes sharded tensors whole, records the node   -> done

What fails is tried again: rank 0 overwrites its order by one of a higher number, and the others
carry out the newest there is and answer with its number, however many they missed meanwhile.

No tensor is sent to another process: rank 0 reads the pieces of others from their packs, one after
another. A node of which a pack is missing is never recorded, so a rank that dies leaves nothing to
clean but files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from branchtrack.checkpoints.manifest import Entry, Manifest, TensorBytes, tensor_hasher
from branchtrack.checkpoints.packs import Pack, Store
from branchtrack.checkpoints.sharded import ShardedTensor, piece_name
from branchtrack.control.store import checkpoints
from branchtrack.core.records import Change, Node, TensorLocation
from branchtrack.db.storage import packs
from branchtrack.errors import BranchtrackError, CheckpointError, StorageError
from branchtrack.training.ranks.channel import Channel, Over
from branchtrack.training.record import commits
from branchtrack.training.record.committer import Committer, Flight, Point
from branchtrack.training.state import shares
from branchtrack.training.state.pieces import Layout
from branchtrack.training.steer.answers import Answer

GIVEN_UP = "given up"
#: Commits whose messages are kept: a rank may still be busy with an earlier one.
_KEPT = 64


@dataclass(frozen=True)
class Part:
    """What one rank holds of a state: its tensors by name, which of them are rows of larger ones,
    and what of the JSON state is its own.
    """

    entries: tuple[Entry, ...]
    layouts: dict[str, Layout]
    state: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the form that `from_json` reads."""
        return {
            "entries": [[e.name, e.dtype, list(e.shape), e.digest] for e in self.entries],
            "layouts": {name: [list(at.shape), at.start] for name, at in self.layouts.items()},
            "state": self.state,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Part:
        """Return what `to_json` made."""
        entries = tuple(
            Entry(n, d, tuple(shape), digest) for n, d, shape, digest in value["entries"]
        )
        layouts = {n: Layout(tuple(shape), start) for n, (shape, start) in value["layouts"].items()}
        return cls(entries, layouts, value["state"])


@dataclass
class JointState:
    """The parts of all ranks of one state, rank 0's first."""

    parts: list[Part]

    @property
    def holders(self) -> dict[str, int]:
        """The first rank that holds each tensor that the manifest names, by digest."""
        holders: dict[str, int] = {}
        pieces = self.pieces
        for rank, part in enumerate(self.parts):
            for entry in part.entries:
                # A rank may have no rows of a sharded tensor.
                if entry.nbytes or entry.name not in pieces:
                    holders.setdefault(entry.digest, rank)
        return holders

    @property
    def pieces(self) -> dict[str, list[tuple[int, Entry]]]:
        """The pieces of each sharded tensor with their first rows, in order, without empty ones."""
        pieces: dict[str, list[tuple[int, Entry]]] = {}
        for part in self.parts:
            for entry in part.entries:
                layout = part.layouts.get(entry.name)
                if layout is not None and entry.nbytes:
                    pieces.setdefault(entry.name, []).append((layout.start, entry))
        return {name: sorted(found, key=lambda piece: piece[0]) for name, found in pieces.items()}

    def manifest(self, digests: Mapping[str, str]) -> Manifest:
        """Return the manifest of the whole; ``digests`` are those of sharded tensors, by name."""
        entries: list[Entry] = []
        shapes = {n: layout.shape for part in self.parts for n, layout in part.layouts.items()}
        for part in self.parts:
            entries += [entry for entry in part.entries if entry.name not in part.layouts]
        sharded = []
        for name, pieces in self.pieces.items():
            first = pieces[0][1]
            if len(pieces) == 1:
                entries.append(first)
                continue
            entries += [replace(entry, name=piece_name(name, at)) for at, entry in pieces]
            starts = tuple(at for at, _ in pieces)
            whole = ShardedTensor(name, first.dtype, shapes[name], digests[name], starts)
            sharded.append(whole)
        empty = {e.name: e for part in self.parts for e in part.entries if e.name in part.layouts}
        entries += [replace(empty[n], shape=shapes[n]) for n in empty if n not in self.pieces]
        state = dict(self.parts[0].state)
        state[shares.KEY] = {
            "size": len(self.parts),
            **{str(rank): part.state for rank, part in enumerate(self.parts) if rank},
        }
        return Manifest(tuple(entries), state, tuple(sharded))


def compared(
    channel: Channel,
    number: int,
    own: commits.Digested,
    layouts: dict[str, Layout],
    recorded: Manifest,
) -> tuple[commits.Digested, JointState]:
    """Return the state of all ranks to compare with a recorded one, and what each holds of it;
    rank 0 calls it.

    The bytes of others are not here: a sharded tensor whose pieces are the recorded ones is the
    recorded one, any other has no digest that a whole tensor has.
    """
    parts = [
        Part.from_json(channel.take(f"compared/{number}/{rank}", rank)) for rank in channel.others
    ]
    joint = JointState([Part(own[0].entries, layouts, own[0].state), *parts])
    stored = {entry.name: entry.digest for entry in recorded.entries}
    wholes = {tensor.name: tensor.digest for tensor in recorded.sharded}
    digests: dict[str, str] = {}
    for name, pieces in joint.pieces.items():
        now = {piece_name(name, start): entry.digest for start, entry in pieces}
        is_same = all(stored.get(piece) == digest for piece, digest in now.items())
        other = hashlib.sha256("".join(now.values()).encode()).hexdigest()
        digests[name] = wholes[name] if is_same and name in wholes else other
    return (joint.manifest(digests), own[1]), joint


def order(
    channel: Channel, key: str, attempt: int, joint: JointState, absent: Collection[str]
) -> dict[int, list[str]]:
    """Order every rank to write what the store lacks of its part; return the digests by rank."""
    holders = joint.holders
    assigned: dict[int, list[str]] = {rank: [] for rank in range(channel.size)}
    for digest in sorted(absent):
        assigned[holders[digest]].append(digest)
    orders = {str(rank): listed for rank, listed in assigned.items()}
    channel.post(f"{key}/write", [attempt, orders])
    return assigned


def pack_of(
    channel: Channel, store: Store, key: str, attempt: int, rank: int, *, over: Over | None = None
) -> Pack:
    """Return the pack that another rank has written in an attempt.

    Raises:
        StorageError: it could not write it, or wrote it into another store. RankLost: as
        `Channel.wait`.
    """
    answer = channel.wait(
        f"{key}/pack/{rank}", rank, over=over, fits=lambda key, answer: answer[0] == attempt
    )
    told = answer[1]
    if "error" in told:
        raise StorageError(f"Rank {rank}: {told['error']}", path=told["path"])
    pack = pack_from_json(told)
    if not store.exists(pack.id):
        where = store.describe(pack.id)
        raise StorageError(
            f"Rank {rank} has written {where}, which is not there for rank 0: all ranks need "
            "one store.",
            path=where,
        )
    return pack


class JointCommitter(Committer):
    """The committer of rank 0, which records for all.

    Packs for a bucket are uploaded at once: each rank has its own, and the node needs all of them.
    """

    spools = False

    def __init__(self, channel: Channel, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._channel = channel
        #: Digests of whole sharded tensors of the last commit, by name and digests of the pieces.
        self._wholes: dict[tuple[str, ...], str] = {}

    def commit(
        self,
        point: Point,
        kind: str,
        metrics: Mapping[str, float | None],
        changes: tuple[Change, ...] = (),
        answers: Sequence[Answer] = (),
        message: str = "",
    ) -> list[Node]:
        """Do as `Committer.commit`; the others have been told to take their part of the state."""
        self.number += 1
        before = self._flight
        made = super().commit(point, kind, metrics, changes, answers, message)
        if self._flight is before:
            # No state was captured here.
            self._dismiss(self.number, GIVEN_UP)
        return made

    def _dismiss(self, number: int, how: str) -> None:
        self._channel.post(f"commit/{number}/done", how)
        # One that is removed while another rank looks for it would block that rank.
        for message in ("done", "write"):
            self._channel.forget(f"commit/{number - _KEPT}/{message}")

    def _carry_out(self, flight: Flight) -> None:
        super()._carry_out(flight)
        self._dismiss(flight.number, "recorded" if flight.nodes else GIVEN_UP)

    def _digest(self, flight: Flight) -> commits.Digested:
        own = super()._digest(flight)
        first = Part(own[0].entries, flight.snapshot.layouts, own[0].state)
        others = [self._part(flight.number, rank) for rank in self._channel.others]
        flight.joint = JointState([first, *others])
        return own

    def _is_over(self) -> bool:
        """Return whether the end of training has waited long enough for what others write."""
        return self._recorder.jobs.is_over

    def _part(self, number: int, rank: int) -> Part:
        told = self._channel.take(f"commit/{number}/part/{rank}", rank, over=self._is_over)
        if "error" in told:
            raise CheckpointError(
                f"Rank {rank} could not capture its part: {told['error']}",
                safe="Training continues; no node was committed.",
                node=None,
            )
        return Part.from_json(told)

    def _try_to_write(self, flight: Flight, digested: commits.Digested) -> None:
        joint = flight.joint
        assert joint is not None
        packs = self._packs_of_all(flight, joint, digested[1])
        with self._recorder.off_database():
            manifest = joint.manifest(self._whole_digests(joint, digested[1], packs))
        others = [pack for pack in packs if pack is not flight.pack]
        held: dict[str, Any] = {digest: digested[1].get(digest) for digest in joint.holders}
        self._record(flight, (manifest, held), others)

    def _packs_of_all(
        self, flight: Flight, joint: JointState, own: Mapping[str, TensorBytes]
    ) -> list[Pack]:
        """Have every rank write what the store lacks of its part; return the packs."""
        with self._database.read() as connection:
            absent = checkpoints.absent(connection, self._store, joint.holders.keys())
        flight.attempts += 1
        key, attempt = f"commit/{flight.number}", flight.attempts
        assigned = order(self._channel, key, attempt, joint, absent)
        with self._recorder.off_database():
            fresh = [(digest, own[digest]) for digest in assigned[0]]
            flight.pack = self._store.put(fresh, self._owner) if fresh else None
            return [
                *([] if flight.pack is None else [flight.pack]),
                *(
                    pack_of(self._channel, self._store, key, attempt, rank, over=self._is_over)
                    for rank in self._channel.others
                    if assigned[rank]
                ),
            ]

    def _whole_digests(
        self, joint: JointState, own: Mapping[str, TensorBytes], written: Sequence[Pack]
    ) -> dict[str, str]:
        """Return the digest that each sharded tensor has as a whole."""
        pieces = {name: found for name, found in joint.pieces.items() if len(found) > 1}
        places = {place.digest: place for pack in written for place in pack.locations}
        elsewhere = {entry.digest for found in pieces.values() for _, entry in found}
        elsewhere -= places.keys() | own.keys()
        if elsewhere:
            with self._database.read() as connection:
                places |= packs.locate(connection, elsewhere)
        known, self._wholes = self._wholes, {}
        digests: dict[str, str] = {}
        for name, found in pieces.items():
            key = (name, *(entry.digest for _, entry in found))
            digest = known.get(key)
            if digest is None:
                shape = next(p.layouts[name].shape for p in joint.parts if name in p.layouts)
                hasher = tensor_hasher(found[0][1].dtype, shape)
                for _, entry in found:
                    for chunk in _content(self._store, entry.digest, own, places):
                        hasher.update(chunk)
                digest = hasher.hexdigest()
            digests[name] = self._wholes[key] = digest
        return digests


def _content(
    store: Store,
    digest: str,
    own: Mapping[str, TensorBytes],
    places: Mapping[str, TensorLocation],
) -> Iterator[bytes | memoryview]:
    if digest in own:
        yield own[digest].data
    else:
        yield from store.pieces(places[digest])


def pack_to_json(pack: Pack) -> dict[str, Any]:
    """Return a pack as a message."""
    return asdict(pack)


def pack_from_json(value: Mapping[str, Any]) -> Pack:
    """Return what `pack_to_json` made."""
    places = (TensorLocation(**{**p, "shape": tuple(p["shape"])}) for p in value["locations"])
    return Pack(value["id"], value["nbytes"], tuple(places))


def error_to_json(error: Exception) -> dict[str, Any]:
    """Return an error of a rank as a message."""
    path = error.facts.get("path") if isinstance(error, BranchtrackError) else None
    return {"error": str(error) or type(error).__name__, "path": str(path or "the store")}
