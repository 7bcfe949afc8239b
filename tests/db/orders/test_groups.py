"""Groups have names of their own in a run, an event, and the branches that were made with them."""

from __future__ import annotations

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.db import audit, integrity, runs
from branchtrack.db.engine import Database
from branchtrack.db.orders import groups
from branchtrack.errors import InvalidInput
from tests.trees_for_tests import make_forked_tree


def test_a_group_names_its_branches_and_is_in_the_log(database: Database, store: Store) -> None:
    tree, _nodes = make_forked_tree(database, store)
    with database.transaction() as connection:
        group = groups.create(connection, tree.run.id, "rates", "values", actor="ann", reason="why")
        groups.add_branch(connection, group, runs.find_branch(connection, "demo/cooler"))
    with database.read() as connection:
        assert groups.of_run(connection, tree.run.id) == [group]
        assert [branch.name for branch in groups.members(connection, group.id)] == ["cooler"]
        last = audit.newest(connection, tree.run.id, 1)[0]
        assert (last.kind, last.state, last.reason) == ("group", "created", "why")
        assert integrity.of_database(connection) == []


def test_a_taken_name_gets_a_number_and_a_bad_one_is_refused(
    database: Database, store: Store
) -> None:
    tree, _nodes = make_forked_tree(database, store)
    with database.transaction() as connection:
        names = [
            groups.create(connection, tree.run.id, "rates", "grid", actor="ann").name
            for _ in range(2)
        ]
        assert names == ["rates", "rates-2"]
        with pytest.raises(InvalidInput):
            groups.create(connection, tree.run.id, "a b", "grid", actor="ann")


def test_a_group_is_named_by_its_id(sqlite_database: Database, store: Store) -> None:
    tree, _nodes = make_forked_tree(sqlite_database, store)
    with sqlite_database.transaction() as connection:
        group = groups.create(connection, tree.run.id, "rates", "values", actor="ann")
    with sqlite_database.read() as connection:
        assert groups.name_of(connection, group.id) == "rates"
        assert groups.name_of(connection, None) is None
