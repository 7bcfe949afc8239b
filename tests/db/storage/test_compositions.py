"""The composition that settings name is found by the beginning of its digest."""

from __future__ import annotations

from branchtrack.core.shards.composition import SETTING, Composition, Shard
from branchtrack.db.engine import Database
from branchtrack.db.storage import texts
from branchtrack.db.storage.compositions import composition_of

ONE = Composition((Shard("code", 1.0, "a" * 64, 3, "/data/code.txt"),))


def test_settings_name_a_composition_that_was_stored(database: Database) -> None:
    with database.transaction() as connection:
        texts.put(connection, ONE.document)
    with database.read() as connection:
        assert composition_of(connection, {SETTING: ONE.value}) == ONE
        assert composition_of(connection, {SETTING: "code:1 @" + "0" * 16}) is None
        assert composition_of(connection, {"lr": 0.1}) is None
