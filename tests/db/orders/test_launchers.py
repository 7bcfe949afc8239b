"""Profiles of launchers: added once, by a name, sealed, removed."""

from __future__ import annotations

import pytest

from branchtrack.db import integrity, seals
from branchtrack.db.engine import Database
from branchtrack.db.orders import launchers
from branchtrack.db.orders.tables import launchers as table
from branchtrack.errors import InvalidInput, NameTaken, NotFound


def test_a_profile_is_added_found_and_removed(database: Database) -> None:
    with database.transaction() as connection:
        added = launchers.add(connection, "gpu", "slurm", ["-p", "main"], "ann")
        launchers.add(connection, "cpu", "slurm", [], "ann")
    with database.read() as connection:
        assert [profile.name for profile in launchers.all_of(connection)] == ["cpu", "gpu"]
        assert launchers.get(connection, "gpu") == added
        assert added.options == ["-pmain"] and seals.holds(connection, table, added.id)
    with database.transaction() as connection:
        assert launchers.remove(connection, "gpu").id == added.id
    with database.read() as connection:
        assert integrity.of_database(connection) == []
        with pytest.raises(NotFound):
            launchers.get(connection, "gpu")


def test_a_name_is_given_once(database: Database) -> None:
    with database.transaction() as connection:
        launchers.add(connection, "gpu", "slurm", [], "ann")
    with pytest.raises(NameTaken), database.transaction() as connection:
        launchers.add(connection, "gpu", "slurm", ["--requeue"], "ann")


@pytest.mark.parametrize("name, kind, option", [("slurm", "slurm", "-H"), ("a", "pbs", "-H")])
def test_what_is_not_valid_is_refused(
    database: Database, name: str, kind: str, option: str
) -> None:
    with pytest.raises(InvalidInput), database.transaction() as connection:
        launchers.add(connection, name, kind, [option], "ann")
