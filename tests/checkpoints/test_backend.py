"""A store is the same over every backend, and no other code knows where packs are."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from branchtrack import store_address
from branchtrack.checkpoints.backend import Backend
from branchtrack.checkpoints.export import export
from branchtrack.checkpoints.folder import Folder
from branchtrack.checkpoints.packs import Store
from branchtrack.checkpoints.remote.bucket import Bucket
from branchtrack.checkpoints.remote.cached import CachedBucket
from branchtrack.checkpoints.remote.pack_cache import PackCache
from branchtrack.control import leftovers, verify_node
from branchtrack.db.engine import Database
from branchtrack.errors import CheckpointDamaged, CheckpointMissing, InvalidInput, StorageError
from tests.checkpoints.memory import Memory
from tests.checkpoints.tensors_for_tests import ARRAYS, by_digest, manifest_of, tensors
from tests.trees_for_tests import make_tree

PACKAGE = Path(__file__).parents[2] / "branchtrack"


@pytest.fixture(params=["folder", "memory", "bucket", "cached bucket"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    if request.param in ("folder", "memory"):
        return Folder(tmp_path / "store") if request.param == "folder" else Memory()
    there = Bucket(store_address.parse(request.getfixturevalue("bucket")))
    cache = PackCache(tmp_path / "cache", 1_000_000_000)
    return there if request.param == "bucket" else CachedBucket(there, cache)


@pytest.fixture
def memory_store(tmp_path: Path) -> Store:
    return Store(Memory(), tmp_path / "home")


def damage(backend: Backend, pack: str) -> None:
    """Turn over the last bit of a pack."""
    with backend.open(pack) as file:
        content = bytearray(file.read())
    content[-1] ^= 1
    backend.put(pack, [bytes(content)])


def test_what_is_put_is_listed_read_verified_and_deleted(backend: Backend, tmp_path: Path) -> None:
    store = Store(backend, tmp_path)
    assert list(store.packs()) == []
    pack = store.put(tensors(), {"node": "1"})
    assert [listed.id for listed in store.packs()] == [pack.id]
    assert store.exists(pack.id) and store.is_present()
    assert store.metadata(pack.id)["node"] == "1"
    read = {location.name: store.read(location) for location in pack.locations}
    assert read == {name: array.tobytes() for name, array in ARRAYS.items()}
    assert list(store.verify(pack.locations)) == []
    store.delete(pack.id)
    assert not store.exists(pack.id) and list(store.packs()) == []


def test_a_missing_pack_is_reported_with_where_it_would_be(
    backend: Backend, tmp_path: Path
) -> None:
    store = Store(backend, tmp_path)
    pack = store.put(tensors(), {})
    store.discard(pack.id)
    store.discard(pack.id)
    with pytest.raises(CheckpointMissing) as caught:
        store.read(pack.locations[0])
    assert caught.value.facts["path"] == store.describe(pack.id)
    assert {problem.path for problem in store.verify(pack.locations)} == {store.describe(pack.id)}
    with pytest.raises(FileNotFoundError):
        store.delete(pack.id)


def test_a_changed_byte_is_noticed(backend: Backend, tmp_path: Path) -> None:
    store = Store(backend, tmp_path)
    pack = store.put(tensors(), {})
    damage(backend, pack.id)
    assert len(list(store.verify(pack.locations))) == 1
    with pytest.raises(CheckpointDamaged):
        for location in pack.locations:
            store.read(location)


def test_only_ids_of_packs_reach_a_backend(backend: Backend, tmp_path: Path) -> None:
    store = Store(backend, tmp_path)
    for method in (store.describe, store.exists, store.delete, store.metadata):
        with pytest.raises(InvalidInput):
            method("../../etc/passwd")


def test_a_backend_that_is_full_is_an_error_of_the_store(tmp_path: Path) -> None:
    backend = Memory()
    backend.is_full = True
    with pytest.raises(StorageError, match="free some space"):
        Store(backend, tmp_path).put(tensors(), {})


def test_an_export_needs_no_files_of_the_store(memory_store: Store, tmp_path: Path) -> None:
    pack = memory_store.put(tensors(), {})
    written = export(memory_store, manifest_of(ARRAYS, {}), by_digest(pack), tmp_path / "export")
    assert {path.name for path in written} >= {"model.safetensors", "state.json"}


def test_a_node_is_committed_and_verified_without_files(
    sqlite_database: Database, memory_store: Store
) -> None:
    node = make_tree(sqlite_database, memory_store).node("main", 0, kind="root")
    assert verify_node(sqlite_database, memory_store, node).digest == node.state_digest
    for pack in list(memory_store.packs()):
        memory_store.delete(pack.id)
    with pytest.raises(CheckpointMissing):
        verify_node(sqlite_database, memory_store, node)


def test_leftovers_are_removed_from_any_backend(sqlite_database: Database, tmp_path: Path) -> None:
    backend = Memory()
    backend.unfinished_since = {"elsewhere:1:2#3": 0.0, "0123456789abcdef": 0.0}
    report = leftovers.clear(sqlite_database, Store(backend, tmp_path))
    assert "Removed from memory://packs" in report and "2 half-written, 0 that" in report
    assert backend.unfinished_since == {}


def reaches(source: str) -> Iterator[str]:
    """Yield what in a module outside ``checkpoints/`` knows where packs are."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(value=ast.Name(id=name) | ast.Attribute(attr=name), attr=attribute):
                if name.lstrip("_") == "store" and attribute in ("path", "folder", "backend"):
                    yield ast.unparse(node)
            case ast.ImportFrom(module="branchtrack.checkpoints.folder"):
                yield "from branchtrack.checkpoints.folder"
            case ast.ImportFrom(module="branchtrack.checkpoints", names=names):
                yield from (alias.name for alias in names if alias.name in ("folder", "backend"))
            case ast.Call(func=ast.Name(id=name), args=arguments) if "Path" in name:
                yield from (ast.unparse(node) for a in arguments if ".describe(" in ast.unparse(a))
            case ast.BinOp(op=ast.Div(), left=ast.Attribute(attr="store")):
                yield ast.unparse(node)


def test_no_module_outside_checkpoints_makes_paths_of_packs() -> None:
    offenders = {
        str(path.relative_to(PACKAGE)): list(reaches(path.read_text("utf-8")))
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).parts[0] not in ("checkpoints", "_assets")
    }
    assert {name: every for name, every in offenders.items() if every} == {}


@pytest.mark.parametrize(
    "source",
    [
        "store.path(pack).is_file()",
        "self._store.folder.is_dir()",
        "Path(store.describe(pack)).exists()",
        "config.store / 'packs'",
        "from branchtrack.checkpoints.folder import Folder",
        "from branchtrack.checkpoints import folder",
    ],
)
def test_a_path_of_a_pack_is_noticed(source: str) -> None:
    assert list(reaches(source))
