"""The run and the profiles of a form that orders trainings."""

from __future__ import annotations

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.db import runs
from branchtrack.db.engine import Database
from branchtrack.db.orders import launchers
from branchtrack.db.views.nearby import order_choices
from branchtrack.errors import NotFound
from tests.trees_for_tests import make_forked_tree


def test_the_run_comes_with_all_profiles(database: Database, store: Store) -> None:
    tree, _ = make_forked_tree(database, store)
    with database.read() as connection:
        run = runs.get_run(connection, tree.run.id)
        assert order_choices.read(connection, run.id) == (run, [])
    with database.transaction() as connection:
        made = [launchers.add(connection, name, "slurm", [], "ann") for name in ("gpu", "cpu")]
    with database.read() as connection:
        assert order_choices.read(connection, run.id) == (run, made[::-1])
        with pytest.raises(NotFound):
            order_choices.read(connection, "0" * 16)
