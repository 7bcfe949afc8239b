from __future__ import annotations

from typing import Any

import pytest

from branchtrack.checkpoints import sharded
from branchtrack.checkpoints.manifest import Entry, Manifest, tensor_digest
from branchtrack.checkpoints.sharded import ShardedTensor
from branchtrack.errors import CheckpointDamaged

WHOLE = bytes(range(24))
NAME = "model/w"


def entry(name: str, data: bytes) -> Entry:
    """A tensor of bytes in rows of four."""
    shape = (len(data) // 4, 4)
    return Entry(name, "U8", shape, tensor_digest("U8", shape, data))


def in_pieces(*starts: int) -> Manifest:
    """The whole in pieces that begin at these rows."""
    ends = (*starts[1:], 6)
    pieces = [
        entry(sharded.piece_name(NAME, start), WHOLE[4 * start : 4 * end])
        for start, end in zip(starts, ends, strict=True)
    ]
    whole = entry(NAME, WHOLE)
    tensor = ShardedTensor(NAME, "U8", whole.shape, whole.digest, starts)
    return Manifest((*pieces, entry("model/b", b"abcd")), {"step": 1}, (tensor,))


def test_a_state_in_pieces_is_the_same_state_however_it_is_divided() -> None:
    whole = Manifest((entry(NAME, WHOLE), entry("model/b", b"abcd")), {"step": 1})
    assert in_pieces(0, 3).digest == in_pieces(0, 1, 5).digest == whole.digest
    assert {e.name for e in in_pieces(0, 3).whole} == {NAME, "model/b"}
    assert in_pieces(0, 3).logical_bytes == whole.logical_bytes


def test_a_manifest_in_pieces_is_read_back_as_it_was() -> None:
    manifest = in_pieces(0, 2)
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_earlier_versions_refuse_a_manifest_in_pieces() -> None:
    assert in_pieces(0, 2).to_json()["format"] == "branchtrack-manifest-2"
    whole = Manifest((entry(NAME, WHOLE),), {})
    assert whole.to_json()["format"] == "branchtrack-manifest-1"


@pytest.mark.parametrize(
    ("place", "value"),
    [(4, [0]), (4, [1, 2]), (4, [0, 0]), (4, []), (4, [0, 5]), (2, [7, 4]), (3, "short"), (0, 7)],
)
def test_pieces_that_do_not_make_the_whole_are_damage(place: int, value: Any) -> None:
    stored = in_pieces(0, 2).to_json()
    stored["sharded"][0][place] = value
    with pytest.raises(CheckpointDamaged):
        Manifest.from_json(stored)


def test_json_lists_the_whole_tensors_and_the_digests_of_their_pieces() -> None:
    stored = in_pieces(0, 2).to_json()
    assert sorted(item[0] for item in sharded.whole_entries(stored)) == ["model/b", NAME]
    whole = entry(NAME, WHOLE).digest
    assert sharded.stored_digests(stored) == {
        whole: [entry("", WHOLE[:8]).digest, entry("", WHOLE[8:]).digest]
    }
    plain = Manifest((entry(NAME, WHOLE),), {}).to_json()
    assert sharded.whole_entries(plain) == plain["tensors"]
    assert sharded.stored_digests(plain) == {}
