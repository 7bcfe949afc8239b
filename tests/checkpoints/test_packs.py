"""The store: what was put is read back bit for bit, and nothing damaged ever is."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from branchtrack.checkpoints.location import open_store
from branchtrack.checkpoints.manifest import TensorBytes, tensor_digest
from branchtrack.errors import (
    CheckpointDamaged,
    CheckpointMissing,
    InvalidInput,
)
from tests.checkpoints.tensors_for_tests import ARRAYS, stored, tensor, tensors


def everything_under(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_every_tensor_is_read_back_bit_for_bit(tmp_path: Path) -> None:
    store, pack = stored(tmp_path)
    read = {location.name: store.read(location) for location in pack.locations}
    assert read == {name: array.tobytes() for name, array in ARRAYS.items()}


def test_a_tensor_in_pieces_is_the_whole_tensor_or_refused(tmp_path: Path) -> None:
    store, pack = stored(tmp_path)
    for location in pack.locations:
        pieces = list(store.pieces(location, 8))
        assert b"".join(pieces) == store.read(location)
        assert all(len(piece) == 8 for piece in pieces[:-1])
    location = max(pack.locations, key=lambda location: location.nbytes)
    path = Path(store.describe(pack.id))
    content = bytearray(path.read_bytes())
    content[location.offset] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)
    with pytest.raises(CheckpointDamaged):
        list(store.pieces(location, 8))
    path.write_bytes(content[: location.offset + 3])
    with pytest.raises(CheckpointDamaged):
        list(store.pieces(location, 8))


def test_a_pack_opens_with_any_safetensors_reader(tmp_path: Path) -> None:
    store, pack = stored(tmp_path)
    loaded = load_file(Path(store.describe(pack.id)))
    assert loaded.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert loaded[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded[name], array)


def test_the_header_carries_metadata_and_digests(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    pack = store.put(tensors(), {"node": "0123456789abcdef"})
    with safe_open(Path(store.describe(pack.id)), "np") as file:
        metadata = file.metadata()
    assert metadata["node"] == "0123456789abcdef"
    digests = {location.name: location.digest for location in pack.locations}
    assert json.loads(metadata["branchtrack.digests"]) == digests


def test_bfloat16_goes_through_as_bytes(tmp_path: Path) -> None:
    data = bytes(range(8))
    digest = tensor_digest("BF16", (2, 2), data)
    store = open_store(tmp_path)
    pack = store.put([(digest, TensorBytes("model/b", "BF16", (2, 2), memoryview(data)))], {})
    assert store.read(pack.locations[0]) == data
    with safe_open(Path(store.describe(pack.id)), "np") as file:
        assert file.get_slice("model/b").get_dtype() == "BF16"


def test_a_pack_may_be_empty(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    pack = store.put([], {})
    assert pack.locations == ()
    assert load_file(Path(store.describe(pack.id))) == {}


def test_the_id_is_the_digest_of_the_header_and_the_size_that_of_the_file(tmp_path: Path) -> None:
    store, pack = stored(tmp_path)
    content = Path(store.describe(pack.id)).read_bytes()
    length = 8 + int.from_bytes(content[:8], "little")
    assert pack.id == hashlib.sha256(content[:length]).hexdigest()[:32]
    assert pack.nbytes == len(content)
    assert Path(store.describe(pack.id)).parent == tmp_path / "packs" / pack.id[:2]


def test_the_same_content_gives_the_same_pack(tmp_path: Path) -> None:
    store, pack = stored(tmp_path)
    assert store.put(list(reversed(tensors())), {}) == pack
    assert everything_under(tmp_path) == [Path(store.describe(pack.id))]


def test_putting_again_mends_a_damaged_pack(tmp_path: Path) -> None:
    store, pack = stored(tmp_path)
    Path(store.describe(pack.id)).write_bytes(b"")
    store.put(tensors(), {})
    assert list(open_store(tmp_path).verify(pack.locations)) == []


def test_a_digest_given_twice_is_written_once(tmp_path: Path) -> None:
    array = ARRAYS["model/weight"]
    pack = open_store(tmp_path).put([tensor("model/a", array), tensor("model/b", array)], {})
    assert [location.name for location in pack.locations] == ["model/a"]


@pytest.mark.parametrize("name", ["", "__metadata__", "model/odd"])
def test_empty_reserved_and_doubled_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match="names"):
        open_store(tmp_path).put([*tensors(), tensor(name, np.ones(77))], {})


def test_metadata_of_the_stores_own_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        open_store(tmp_path).put(tensors(), {"branchtrack.digests": "{}"})


@pytest.mark.parametrize("pack", ["", "../../etc/passwd", "A" * 32, "a" * 31])
def test_what_is_no_pack_id_names_no_file(tmp_path: Path, pack: str) -> None:
    with pytest.raises(InvalidInput):
        open_store(tmp_path).describe(pack)


def test_a_missing_pack_is_reported_with_its_path(tmp_path: Path) -> None:
    store, pack = stored(tmp_path)
    Path(store.describe(pack.id)).unlink()
    with pytest.raises(CheckpointMissing, match="resume|Resume") as caught:
        store.read(pack.locations[0])
    assert caught.value.facts["path"] == str(Path(store.describe(pack.id)))
    assert caught.value.safe == "Other nodes are untouched."
    problems = list(store.verify(pack.locations))
    assert [problem.location for problem in problems] == sorted(
        pack.locations, key=lambda location: location.offset
    )


def test_each_single_flipped_byte_of_a_pack_is_found(tmp_path: Path) -> None:
    arrays = {"model/w": np.arange(5, dtype="<f4"), "model/b": np.array(1.5, "<f8")}
    store, pack = stored(tmp_path, arrays)
    path = Path(store.describe(pack.id))
    content = path.read_bytes()
    for position in range(len(content)):
        flipped = bytearray(content)
        flipped[position] ^= 0x20
        path.write_bytes(flipped)
        assert list(open_store(tmp_path).verify(pack.locations)), position
        with pytest.raises(CheckpointDamaged):
            for location in pack.locations:
                open_store(tmp_path).read(location)


def test_a_flip_in_one_tensor_leaves_the_others_readable(tmp_path: Path) -> None:
    store, pack = stored(tmp_path)
    hurt = next(location for location in pack.locations if location.name == "rng/torch")
    content = bytearray(Path(store.describe(pack.id)).read_bytes())
    content[hurt.offset] ^= 1
    Path(store.describe(pack.id)).write_bytes(content)
    assert [problem.location for problem in store.verify(pack.locations)] == [hurt]
    with pytest.raises(CheckpointDamaged) as caught:
        store.read(hurt)
    assert caught.value.facts["tensor"] == "rng/torch"
    for location in pack.locations:
        if location != hurt:
            store.read(location)


@pytest.mark.parametrize("keep_header", [True, False])
def test_a_truncated_file_is_found_at_every_length(tmp_path: Path, keep_header: bool) -> None:
    store, pack = stored(tmp_path, {"model/w": np.arange(3, dtype="<f4")})
    location = pack.locations[0]
    content = Path(store.describe(pack.id)).read_bytes()
    for length in range(len(content)):
        Path(store.describe(pack.id)).write_bytes(content[:length])
        reader = store if keep_header else open_store(tmp_path)
        if keep_header:
            store.put([tensor("model/w", np.arange(3, dtype="<f4"))], {})
            store.read(location)
            Path(store.describe(pack.id)).write_bytes(content[:length])
        with pytest.raises(CheckpointDamaged):
            reader.read(location)
        assert list(reader.verify(pack.locations))


def test_bytes_after_the_end_are_found(tmp_path: Path) -> None:
    store, pack = stored(tmp_path)
    with Path(store.describe(pack.id)).open("ab") as file:
        file.write(b"\0")
    assert list(store.verify(pack.locations))


def test_verify_reports_progress_in_bytes_over_all_packs(tmp_path: Path) -> None:
    store, first = stored(tmp_path)
    second = store.put([tensor("model/big", np.zeros(400_000))], {})
    seen: list[tuple[int, int]] = []
    locations = [*second.locations, *first.locations]
    assert list(store.verify(locations, lambda done, total: seen.append((done, total)))) == []
    total = sum(location.nbytes for location in locations)
    assert seen[-1] == (total, total)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_verify_never_holds_a_whole_tensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, pack = stored(tmp_path, {"model/big": np.zeros(4_000_000)})
    tracemalloc.start()
    try:
        assert list(store.verify(pack.locations)) == []
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


def test_more_packs_than_headers_are_kept_are_read(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    packs = [store.put([tensor("model/w", np.full(2, n))], {}) for n in range(130)]
    for number, pack in enumerate(packs):
        assert np.frombuffer(store.read(pack.locations[0]), "<i8").tolist() == [number] * 2


def test_a_pack_is_checked_without_its_tensors(tmp_path: Path) -> None:
    store, pack = stored(tmp_path)
    path = Path(store.describe(pack.id))
    whole = path.read_bytes()
    store.check_pack(pack.id, pack.nbytes)
    # The content of tensors is for whoever reads it.
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    store.check_pack(pack.id, pack.nbytes)
    header_flipped = whole[:20] + bytes([whole[20] ^ 1]) + whole[21:]
    for damaged in (whole[:-1], whole + b"x", whole[:4], header_flipped):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointDamaged, match=str(path)):
            store.check_pack(pack.id, pack.nbytes)
    path.unlink()
    with pytest.raises(CheckpointMissing):
        store.check_pack(pack.id, pack.nbytes)
