from __future__ import annotations

from typing import Any

from branchtrack.checkpoints.manifest import Entry, Manifest, tensor_digest
from branchtrack.checkpoints.packs import Pack
from branchtrack.core.records import TensorLocation
from branchtrack.errors import StorageError
from branchtrack.training.record.ranks import joint
from branchtrack.training.record.ranks.joint import JointState, Part
from branchtrack.training.state.pieces import Layout

WHOLE = bytes(range(20))


def entry(name: str, data: bytes) -> Entry:
    """A tensor of bytes in rows of four."""
    shape = (len(data) // 4, 4)
    return Entry(name, "U8", shape, tensor_digest("U8", shape, data))


def of_rank(rank: int, first: int, end: int, *more: Entry) -> Part:
    """The part of a rank that holds some rows of the whole."""
    rows = entry("model/w", WHOLE[4 * first : 4 * end])
    state = {"step": 3} if rank == 0 else {"rng": rank}
    return Part((rows, *more), {"model/w": Layout((5, 4), first)}, state)


def test_a_part_arrives_as_it_was() -> None:
    part = of_rank(1, 3, 5, entry("ranks/1/rng", b"abcd"))
    assert Part.from_json(part.to_json()) == part


def test_parts_make_the_state_that_one_process_would_have() -> None:
    parts = [of_rank(0, 0, 3, entry("model/b", b"bias")), of_rank(1, 3, 5)]
    state = JointState(parts)
    digest = entry("model/w", WHOLE).digest
    manifest = state.manifest({"model/w": digest})
    assert [e.name for e in manifest.entries] == ["model/b", "model/w@0", "model/w@3"]
    assert {e.name: e.digest for e in manifest.whole}["model/w"] == digest
    alone = Manifest((entry("model/w", WHOLE), entry("model/b", b"bias")), manifest.state)
    assert manifest.digest == alone.digest
    assert manifest.state["ranks"] == {"size": 2, "1": {"rng": 1}}


def test_a_tensor_that_one_rank_holds_alone_is_stored_whole() -> None:
    state = JointState([of_rank(0, 0, 5), of_rank(1, 5, 5)])
    assert [e.name for e in state.manifest({}).entries] == ["model/w"]


def test_each_tensor_is_written_by_the_first_rank_that_holds_it() -> None:
    shared = entry("loop/order", b"same")
    state = JointState([of_rank(0, 0, 3, shared), of_rank(1, 3, 5, shared)])
    assert state.holders[shared.digest] == 0
    assert state.holders[entry("", WHOLE[12:]).digest] == 1


def test_what_a_rank_has_no_rows_of_is_no_tensor() -> None:
    state = JointState([of_rank(0, 0, 5), of_rank(1, 5, 5)])
    assert set(state.holders) == {e.digest for e in state.manifest({}).entries}


class Told:
    """A channel on which rank 1 has said its part."""

    others = (1,)

    def __init__(self, part: Part) -> None:
        self.part = part

    def take(self, key: str, rank: int) -> Any:
        """Return it."""
        return self.part.to_json()


def test_pieces_that_are_the_recorded_ones_make_the_recorded_tensor_others_do_not() -> None:
    parts = [of_rank(0, 0, 3), of_rank(1, 3, 5)]
    recorded = JointState(parts).manifest({"model/w": entry("model/w", WHOLE).digest})
    own = Manifest(parts[0].entries, {"step": 3}), {}
    channel: Any = Told(parts[1])
    same, held = joint.compared(channel, 1, own, parts[0].layouts, recorded)
    assert same[0].digest == recorded.digest and held.parts == parts
    changed = Part((entry("model/w", b"otherwise"[:8]),), parts[1].layouts, parts[1].state)
    channel = Told(changed)
    other, _ = joint.compared(channel, 1, own, parts[0].layouts, recorded)
    assert other[0].digest != recorded.digest


def test_packs_and_errors_are_messages() -> None:
    place = TensorLocation("d", "p", "n", "U8", (2, 4), 16, 8)
    pack = Pack("p", 24, (place,))
    assert joint.pack_from_json(joint.pack_to_json(pack)) == pack
    assert joint.error_to_json(StorageError("The disk is full.", path="/x")) == {
        "error": "The disk is full.",
        "path": "/x",
    }
    assert joint.error_to_json(ValueError()) == {"error": "ValueError", "path": "the store"}
