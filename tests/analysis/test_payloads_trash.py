"""The JSON forms of the trash."""

from __future__ import annotations

from branchtrack.analysis import payloads_trash
from branchtrack.checkpoints.packs import Store
from branchtrack.db.deletion import trash
from branchtrack.db.engine import Database
from tests.trees_for_tests import make_forked_tree


def test_an_entry_says_what_was_deleted_and_until_when(
    sqlite_database: Database, store: Store
) -> None:
    tree, _ = make_forked_tree(sqlite_database, store)
    cooler = tree.branches["cooler"]
    with sqlite_database.transaction() as connection:
        trash.put(connection, [cooler], actor="ann", why="worse")
        (entry,) = trash.entries(connection)
    payload = payloads_trash.entry(entry, 0.0)
    assert payload["deleted_at"] > payload["purged_at"] == "1970-01-01T00:00:00.000Z"
    facts = {"id": cooler.id, "kind": "branch", "name": "demo/cooler", "run": "demo", "nodes": 2}
    facts |= {"branches": ["cooler"], "deleted_by": "ann", "reason": "worse"}
    assert payload.items() >= facts.items()
    assert payloads_trash.deletion("demo/cooler", (cooler,), 2) == {
        "name": "demo/cooler",
        "branches": ["cooler"],
        "nodes": 2,
    }
