"""The store of a home is in the home's folder until another place can be named."""

from __future__ import annotations

from pathlib import Path

from branchtrack.checkpoints.location import open_store
from tests.checkpoints.tensors_for_tests import tensors


def test_the_store_of_a_folder_belongs_to_the_home_around_it(tmp_path: Path) -> None:
    store = open_store(tmp_path / "home" / "store")
    assert store.home == tmp_path / "home"
    assert store.describe() == str(tmp_path / "home" / "store")


def test_nothing_is_created_before_the_first_pack(tmp_path: Path) -> None:
    store = open_store(tmp_path / "home" / "store")
    assert not store.is_present() and list(store.packs()) == []
    assert not (tmp_path / "home").exists()
    pack = store.put(tensors(), {})
    assert Path(store.describe(pack.id)).is_file()
