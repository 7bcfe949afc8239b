"""How the composition changed along a branch, and what was drawn up to a node."""

from __future__ import annotations

from branchtrack.checkpoints.packs import Store
from branchtrack.db import runs
from branchtrack.db.engine import Database
from branchtrack.db.views import shard_history
from tests.web import seeds


def test_only_nodes_at_which_it_changed_are_listed(database: Database, store: Store) -> None:
    line = seeds.Grower(database, store, "live").line("main")
    line.commit("root", 0)
    line.draw(100)
    line.commit("final", 300)
    assert line.head is not None
    with database.read() as connection:
        stretches = shard_history.stretches(connection, line.head.id)
        ends = shard_history.ends(connection, runs.get_branch(connection, line.branch.id))
    assert [(stretch.step, stretch.value) for stretch in stretches] == [
        (0, None),
        (50, seeds.BEFORE.value),
        (100, seeds.AFTER.value),
    ]
    assert (ends.run, ends.step, ends.value) == ("live", 300, seeds.AFTER.value)
    assert ends.drawn == line.drawn and ends.before == {}
