"""The table of trials comes with its schema, and goes with it."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import inspect

from branchtrack.config import load
from branchtrack.db import schema
from branchtrack.db.engine import Database
from branchtrack.db.orders.tables import trials


def test_an_upgrade_adds_the_table_with_its_indexes(tmp_path: Path) -> None:
    config = load(tmp_path / "home")
    config.make_home()
    database = Database(config.database_url)
    schema.upgrade(database, "0009")
    assert not inspect(database.engine).has_table("trials")
    schema.upgrade(database, "0010")
    upgraded = inspect(database.engine)
    assert {column["name"] for column in upgraded.get_columns("trials")} == set(trials.c.keys())
    names = {index["name"] for index in upgraded.get_indexes("trials")}
    assert names == {f"ix_trials_{name}" for name in ("run_id", "group_id", "subject", "state")}
    database.close()
