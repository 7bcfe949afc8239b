"""Homes are trusted by a mark of the user's own, and only as they were when they were marked."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from branchtrack import trust
from branchtrack.config import Config, load
from branchtrack.db.schema import open_database
from branchtrack.errors import UntrustedHome


@pytest.fixture(autouse=True)
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration folder of a user who has trusted nothing yet."""
    folder = tmp_path / "configuration"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return folder


@pytest.fixture
def made(tmp_path: Path) -> Config:
    """A home that this user has made."""
    config = load(tmp_path / "home")
    open_database(config, create=True).close()
    return config


def test_a_home_that_this_user_makes_is_trusted(made: Config, configuration: Path) -> None:
    trust.check(made)
    (mark,) = (configuration / "branchtrack" / "trusted").iterdir()
    assert stat.S_IMODE(mark.stat().st_mode) == 0o600
    assert stat.S_IMODE(mark.parent.stat().st_mode) == 0o700


def test_a_home_that_came_from_elsewhere_is_not(made: Config, tmp_path: Path) -> None:
    shutil.copytree(made.home, tmp_path / "unpacked")
    unpacked = load(tmp_path / "unpacked")
    open_database(unpacked, create=True).close()
    with pytest.raises(UntrustedHome, match=r"has not trusted it.*unpacked trust"):
        trust.check(unpacked)


def test_another_folder_in_its_place_is_not_trusted(made: Config, tmp_path: Path) -> None:
    shutil.copytree(made.home, tmp_path / "other")
    made.home.rename(tmp_path / "before")
    (tmp_path / "other").rename(made.home)
    with pytest.raises(UntrustedHome, match="is not the one that was trusted"):
        trust.check(made)


def test_a_home_that_is_only_moved_stays_trusted(made: Config, tmp_path: Path) -> None:
    made.home.rename(tmp_path / "moved")
    trust.check(load(tmp_path / "moved"))
    # A new one in the old place takes nothing from it.
    open_database(made, create=True).close()
    trust.check(made)
    trust.check(load(tmp_path / "moved"))
    shutil.copytree(tmp_path / "moved", tmp_path / "copy")
    assert not trust.is_trusted(load(tmp_path / "copy"))


def test_another_database_in_its_place_is_not_trusted(made: Config) -> None:
    file = made.home / "branchtrack.db"
    shutil.copy(file, file.with_suffix(".other"))
    os.replace(file.with_suffix(".other"), file)
    assert not trust.is_trusted(made)


def test_a_folder_with_the_same_inodes_and_another_id_is_not_trusted(made: Config) -> None:
    (made.home / trust.ID_FILE).write_text("0" * 32)
    assert not trust.is_trusted(made)


def test_another_owner_is_not_trusted(made: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    look = trust._inode_and_owner

    def given_away(path: Path | None) -> list[int] | None:
        found = look(path)
        return found and [found[0], found[1] + 1]

    monkeypatch.setattr(trust, "_inode_and_owner", given_away)
    assert not trust.is_trusted(made)


def test_a_home_is_trusted_with_the_database_it_was_trusted_with(made: Config) -> None:
    other = Config(made.home, f"sqlite:///{made.home}/other.db")
    assert not trust.is_trusted(other)


def test_a_new_home_of_a_server_s_database_is_trusted(
    empty_postgres: str, tmp_path: Path, configuration: Path
) -> None:
    open_database(load(tmp_path / "first", empty_postgres), create=True).close()
    second = load(tmp_path / "second", empty_postgres)
    open_database(second, create=True).close()
    trust.check(second)
    third = load(tmp_path / "third", empty_postgres)
    third.make_home()
    open_database(third, create=True).close()
    assert not trust.is_trusted(third)


def test_a_password_is_not_written_into_a_mark(tmp_path: Path) -> None:
    config = load(tmp_path / "home", "postgresql://me:hidden@server/runs")
    config.make_home()
    mark = trust.mark(config)
    assert mark is not None
    assert "hidden" not in mark.read_text()
    assert "me@server/runs" in mark.read_text()


def test_trust_can_be_taken_back(made: Config) -> None:
    assert trust.forget(made)
    assert not trust.is_trusted(made)
    assert not trust.forget(made)


def test_marks_are_kept_elsewhere_where_the_configuration_cannot_be_written(
    tmp_path: Path, configuration: Path
) -> None:
    configuration.write_text("not a folder")
    config = load(tmp_path / "home")
    open_database(config, create=True).close()
    trust.check(config)
    folder = tmp_path / f"branchtrack-{os.geteuid()}"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(list((folder / "trusted").iterdir())) == 1


def test_a_fallback_that_others_can_write_is_not_believed(
    tmp_path: Path, configuration: Path
) -> None:
    configuration.write_text("not a folder")
    (tmp_path / f"branchtrack-{os.geteuid()}").mkdir()
    (tmp_path / f"branchtrack-{os.geteuid()}").chmod(0o777)
    config = load(tmp_path / "home")
    config.make_home()
    # Nothing can be kept: this process alone trusts what it has made.
    assert trust.mark(config) is None
    assert trust.is_trusted(config)
    trust._TRUSTED_HERE.clear()
    assert not trust.is_trusted(config)


def test_without_a_home_directory_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    config = load(tmp_path / "home")
    open_database(config, create=True).close()
    trust.check(config)


def test_bytes_of_another_database_in_the_same_file_are_not_trusted(
    made: Config, tmp_path: Path
) -> None:
    other = load(tmp_path / "other")
    open_database(other, create=True).close()
    shutil.copyfile(other.home / "branchtrack.db", made.home / "branchtrack.db")
    with pytest.raises(UntrustedHome, match="is not the one that was trusted"):
        trust.check(made)


def test_a_database_is_told_by_its_number_while_it_is_written_and_after(made: Config) -> None:
    database = open_database(made)
    with database.transaction() as connection:
        connection.exec_driver_sql("CREATE TABLE more (x INTEGER)")
    trust.check(made)
    database.close()
    trust.check(made)


def test_a_home_of_before_is_given_a_number_when_it_is_trusted(made: Config) -> None:
    with closing(sqlite3.connect(made.home / "branchtrack.db")) as connection:
        connection.execute("PRAGMA user_version = 0")
    assert not trust.is_trusted(made)
    trust.mark(made)
    trust.check(made)
    with closing(sqlite3.connect(made.home / "branchtrack.db")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] > 0
