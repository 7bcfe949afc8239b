"""A home is its user's alone, or its group's where that was asked for, whatever the umask is."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from branchtrack import permissions
from branchtrack.checkpoints.location import open_store
from branchtrack.config import Config, load
from branchtrack.db.schema import open_database
from tests.trees_for_tests import make_tree


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(config: Config) -> dict[str, set[int]]:
    """The modes of all folders and of all files of a home in use."""
    database = open_database(config, create=True, shared=False)
    make_tree(database, open_store(config.store)).node("main", 0, kind="root")
    with open(config.logs / "a.log", "ab", opener=permissions.opener(config.home)) as log:
        log.write(b"begun")
    with database.transaction():
        paths = [config.home, *config.home.rglob("*")]
        names = {path.name for path in paths}
        assert {"branchtrack.db-wal", "branchtrack.db-shm", "a.log", "packs"} <= names
        found = [(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in paths]
    database.close()
    return {
        "folders": {mode for is_folder, mode in found if is_folder},
        "files": {mode for is_folder, mode in found if not is_folder},
    }


def test_nobody_else_may_read_a_home(tmp_path: Path, umask: int) -> None:
    assert modes(load(tmp_path / "home")) == {"folders": {0o700}, "files": {0o600}}


def test_a_shared_home_stays_shared_with_its_group(tmp_path: Path, umask: int) -> None:
    config = load(tmp_path / "home")
    open_database(config, create=True, shared=True).close()
    assert modes(config) == {"folders": {0o2770}, "files": {0o660}}


def test_a_home_of_before_is_not_changed_and_is_told_of(tmp_path: Path) -> None:
    config = load(tmp_path / "home")
    open_database(config, create=True).close()
    permissions.share(config.home)
    for folder in (config.home, config.store, config.logs):
        folder.chmod(0o755)
    (config.home / "branchtrack.db").chmod(0o644)
    (config.home / "id").chmod(0o644)
    assert modes(config) == {"folders": {0o755}, "files": {0o644}}
    assert "chmod -R go=" in permissions.readers(config.home)


def test_a_folder_made_by_hand_keeps_its_mode_and_its_content_is_private(tmp_path: Path) -> None:
    config = load(tmp_path / "home")
    config.home.mkdir()
    config.home.chmod(0o755)
    assert modes(config) == {"folders": {0o755, 0o700}, "files": {0o600}}
    assert permissions.readers(config.home) == ""


def test_a_home_that_is_there_is_opened_to_its_group(tmp_path: Path) -> None:
    config = load(tmp_path / "home")
    open_database(config, create=True).close()
    config.share_home()
    assert modes(config) == {"folders": {0o2770}, "files": {0o660}}


def test_a_store_made_again_is_as_its_home(tmp_path: Path) -> None:
    home = tmp_path / "home"
    permissions.make_folder(home, permissions.SHARED)
    assert permissions.of_home(home) == permissions.SHARED
    home.chmod(0o755)
    assert permissions.of_home(home) == permissions.PRIVATE
