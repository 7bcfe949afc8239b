"""Labels are written with their seals, and a rename knows the names beside it."""

from __future__ import annotations

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.db import integrity, labels, runs
from branchtrack.db.engine import Database
from branchtrack.errors import NameTaken
from tests.trees_for_tests import make_forked_tree


def test_each_label_is_sealed(database: Database, store: Store) -> None:
    tree, made = make_forked_tree(database, store)
    with database.transaction() as connection:
        branch = runs.find_branch(connection, "demo/cooler")
        labels.set_notes(connection, branch, "calm", actor="ann", why="")
        labels.set_archived(connection, branch, True, actor="ann", why="")
        labels.set_tags(connection, made[2], ["good"], actor="ann", why="")
        labels.rename(connection, tree.run, "other", actor="ann", why="")
        with pytest.raises(NameTaken):
            labels.rename(connection, branch, "main", actor="ann", why="")
    with database.read() as connection:
        changed = runs.find_branch(connection, "other/cooler")
        assert (changed.notes, changed.archived_at is not None) == ("calm", True)
        assert integrity.of_database(connection) == []
