"""The home and the database URL: arguments, then the environment, then the defaults."""

from __future__ import annotations

from pathlib import Path

import pytest

from branchtrack import config
from branchtrack.errors import HomeError


def test_the_default_is_a_folder_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = config.load()
    assert found.home == tmp_path / ".branchtrack"
    assert found.database_url == f"sqlite:///{tmp_path}/.branchtrack/branchtrack.db"


def test_arguments_come_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRANCHTRACK_HOME", "/from/environment")
    assert config.load().home == Path("/from/environment")
    assert config.load(tmp_path).home == tmp_path


def test_a_relative_database_means_the_same_from_every_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert config.load(database_url="sqlite:///x.db").database_url == f"sqlite:///{tmp_path}/x.db"
    assert config.load(database_url="sqlite:////x.db").database_url == "sqlite:////x.db"


@pytest.mark.parametrize("prefix", ["postgres://", "postgresql://"])
def test_a_postgresql_url_names_the_driver_that_is_installed(prefix: str) -> None:
    found = config.load("h", prefix + "me@host/name").database_url
    assert found == "postgresql+psycopg://me@host/name"


def test_a_child_process_gets_the_same_home_and_database(tmp_path: Path) -> None:
    found = config.load(tmp_path, "sqlite:////x.db")
    assert found.environment() == {
        "BRANCHTRACK_HOME": str(tmp_path),
        "BRANCHTRACK_DATABASE_URL": "sqlite:////x.db",
    }


def test_a_home_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeError, match="BRANCHTRACK_HOME"):
        config.load(tmp_path / "file" / "home").make_home()


@pytest.mark.parametrize("name", ["x" * 300, "\udcff"])
def test_a_home_whose_path_no_system_takes_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(HomeError, match="too long|not UTF-8"):
        config.load(tmp_path / name)
