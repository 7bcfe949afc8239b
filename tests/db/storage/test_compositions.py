"""The composition that settings name is found by the beginning of its digest."""

from __future__ import annotations

from branchtrack.checkpoints.packs import Store
from branchtrack.core.shards.composition import SETTING, Composition, Shard
from branchtrack.db.engine import Database
from branchtrack.db.storage import compositions, texts
from branchtrack.db.storage.compositions import composition_of
from tests.web import seeds

ONE = Composition((Shard("code", 1.0, "a" * 64, 3, "/data/code.txt"),))


def test_settings_name_a_composition_that_was_stored(database: Database) -> None:
    with database.transaction() as connection:
        texts.put(connection, ONE.document)
    with database.read() as connection:
        assert composition_of(connection, {SETTING: ONE.value}) == ONE
        assert composition_of(connection, {SETTING: "code:1 @" + "0" * 16}) is None
        assert composition_of(connection, {"lr": 0.1}) is None
        less = composition_of(connection, {SETTING: f"code:5 of {ONE.value.split()[-1]}"})
    assert less is not None and less.shards[0].weight == 5.0


def test_documents_that_were_read_before_are_enough() -> None:
    values = [ONE.value, "code:1 @" + "0" * 16, None]
    beginnings = compositions.beginnings(values)
    assert beginnings == {ONE.digest[:16], "0" * 16}
    documents = {ONE.digest[:16]: ONE.document, "f" * 16: "another text"}
    assert compositions.of_documents(values, documents) == {ONE.value: ONE}


def test_the_compositions_of_a_run_are_those_that_its_nodes_name(
    database: Database, store: Store
) -> None:
    grower = seeds.Grower(database, store, "live")
    grower.line("main").draw(100)
    seeds.Grower(database, store, "other").line("main").commit("root", 0)
    with database.read() as connection:
        assert compositions.digests_of_run(connection, grower.run.id) == sorted(
            [seeds.BEFORE.digest, seeds.AFTER.digest]
        )
