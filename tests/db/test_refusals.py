"""Refusals are counted by actor, branch and kind, and sealed as every row is."""

from __future__ import annotations

from branchtrack.checkpoints.packs import Store
from branchtrack.db import refusals, seals, tables
from branchtrack.db.engine import Database
from tests.trees_for_tests import make_forked_tree


def test_refusals_of_one_kind_are_one_row_that_counts(database: Database, store: Store) -> None:
    tree, _nodes = make_forked_tree(database, store)
    main, cooler = tree.branches["main"], tree.branches["cooler"]
    with database.transaction() as connection:
        refusals.count(connection, main, "bot", "Forbidden")
        refusals.count(connection, main, "bot", "Forbidden", times=3)
        refusals.count(connection, main, "bot", "InvalidInput")
        refusals.count(connection, cooler, "bot", "Forbidden")
        counters = refusals.of_run(connection, tree.run.id, main.id)
        assert {counter.kind: counter.count for counter in counters} == {
            "Forbidden": 4,
            "InvalidInput": 1,
        }
        assert len(refusals.of_run(connection, tree.run.id)) == 3
        assert list(seals.broken(connection, tables.refusals)) == []


def test_the_latest_refusal_comes_first(sqlite_database: Database, store: Store) -> None:
    tree, _nodes = make_forked_tree(sqlite_database, store)
    main = tree.branches["main"]
    with sqlite_database.transaction() as connection:
        for kind in ("Forbidden", "InvalidInput", "Forbidden"):
            refusals.count(connection, main, "bot", kind)
        newest, oldest = refusals.of_run(connection, tree.run.id)
    assert (newest.kind, oldest.kind) == ("Forbidden", "InvalidInput")
    assert newest.first_at <= oldest.first_at <= newest.last_at


def test_the_first_sealed_counter_seals_those_of_an_earlier_version(
    sqlite_database: Database, store: Store
) -> None:
    tree, _nodes = make_forked_tree(sqlite_database, store)
    with sqlite_database.transaction() as connection:
        refusals.count(connection, tree.branches["main"], "bot", "Forbidden")
        of_refusals = tables.seals.c.table == "refusals"
        connection.execute(tables.seals.delete().where(of_refusals))
        refusals.count(connection, tree.branches["cooler"], "bot", "Forbidden")
        assert list(seals.broken(connection, tables.refusals)) == []
