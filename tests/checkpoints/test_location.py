"""The store of a home is in its folder, or in the bucket that it remembers."""

from __future__ import annotations

from pathlib import Path

import pytest

from branchtrack import store_address
from branchtrack.checkpoints.location import open_store
from branchtrack.environment_variables import STORE_VARIABLE
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


def test_the_store_of_a_home_is_in_the_bucket_that_the_environment_names(
    tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STORE_VARIABLE, bucket)
    store = open_store(tmp_path / "home" / "store")
    assert store.describe() == bucket and store.copies is not None
    assert not (tmp_path / "home").exists()
    pack = store.put(tensors(), {})
    assert (tmp_path / "home" / store_address.FILE).read_text() == f"{bucket}\n"
    monkeypatch.delenv(STORE_VARIABLE)
    again = open_store(tmp_path / "home" / "store")
    assert again.exists(pack.id)
    assert [bytes(again.read(location)) for location in pack.locations]
