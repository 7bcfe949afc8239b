"""Profiles: admins make and remove them, whoever may launch names them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from branchtrack.control.launchers import profiles
from branchtrack.core.actors import Actor
from branchtrack.db.engine import Database
from branchtrack.errors import Forbidden, InvalidInput

ADMIN = Actor("ann")


@pytest.mark.parametrize("role", ["viewer", "operator", "agent"])
def test_only_an_admin_adds_and_removes(sqlite_database: Database, role: str) -> None:
    other = Actor("bob", role)
    with pytest.raises(Forbidden) as caught:
        profiles.add(sqlite_database, "gpu", "slurm", [], actor=other)
    assert "--role admin" in str(caught.value) or role == "viewer"
    profiles.add(sqlite_database, "gpu", "slurm", ["--requeue"], actor=ADMIN)
    with pytest.raises(Forbidden):
        profiles.remove(sqlite_database, "gpu", actor=other)
    assert profiles.remove(sqlite_database, "gpu", actor=ADMIN).name == "gpu"


def test_the_owner_of_a_home_is_its_admin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert profiles.actor_at_shell(tmp_path).role == "admin"
    assert profiles.actor_at_shell(tmp_path / "none").role == "admin"
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    assert profiles.actor_at_shell(tmp_path).role == "operator"


def test_the_shell_names_a_profile_or_a_kind_with_more_options(sqlite_database: Database) -> None:
    profiles.add(sqlite_database, "gpu", "slurm", ["-p", "main"], actor=ADMIN)
    with sqlite_database.read() as connection:
        assert profiles.resolved(connection, "gpu", ["--time=10"]) == {
            "name": "gpu",
            "kind": "slurm",
            "options": ["-pmain", "--time=10"],
        }
        assert profiles.resolved(connection, "slurm", ["-H"])["options"] == ["-H"]
        with pytest.raises(InvalidInput) as caught:
            profiles.resolved(connection, "tpu")
        assert caught.value.allowed == "gpu, ray, slurm"
        with pytest.raises(InvalidInput):
            profiles.resolved(connection, "gpu", ["train.sh"])


def test_a_page_names_a_profile_and_nothing_else(sqlite_database: Database) -> None:
    with sqlite_database.read() as connection:
        assert profiles.named(connection, "") is None and profiles.named(connection, None) is None
        with pytest.raises(InvalidInput) as caught:
            profiles.named(connection, "slurm")
        assert "no launchers" in caught.value.allowed
    profiles.add(sqlite_database, "gpu", "slurm", [], actor=ADMIN)
    with sqlite_database.read() as connection:
        assert (profiles.named(connection, "gpu") or {})["name"] == "gpu"
        with pytest.raises(InvalidInput) as caught:
            profiles.named(connection, "slurm")
        assert caught.value.allowed == "gpu"
