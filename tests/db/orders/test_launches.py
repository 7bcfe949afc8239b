"""Launches are found by id, by branch and by what they repeat, and move as their life allows."""

from __future__ import annotations

import pytest

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import Launch
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches
from branchtrack.errors import IllegalTransition, NotFound
from tests.trees_for_tests import make_forked_tree


@pytest.fixture
def launch(database: Database, store: Store) -> Launch:
    _tree, line = make_forked_tree(database, store)
    return control.create_launch(database, store, line[1].id, actor="ann", name="hot")


def test_a_launch_is_found(database: Database, launch: Launch) -> None:
    with database.read() as connection:
        assert launches.get(connection, launch.id) == launch
        assert launches.find(connection, launch.id[:6]) == launch
        assert launches.of_branch(connection, launch.branch_id) == launch
        assert launches.newest_of_run(connection, launch.run_id) == launch
        assert launches.mode_of(connection, launch.fork_node_id) == "exact"
        assert launches.branch_name(connection, launch) == "hot"
        assert launches.unfinished(connection) == [launch]
        with pytest.raises(NotFound):
            launches.find(connection, "nope")


def test_a_launch_moves_as_its_life_allows(database: Database, launch: Launch) -> None:
    with database.transaction() as connection:
        launches.move(connection, launch.id, "starting", "w", worker="w")
        with pytest.raises(IllegalTransition):
            launches.move(connection, launch.id, "running", "v", owner="v")
        running = launches.move(connection, launch.id, "running", "w", owner="w", pid=7)
        assert (running.state, running.pid) == ("running", 7)
        launches.move(connection, launch.id, "ended", "w", exit_code=0)
        with pytest.raises(IllegalTransition):
            launches.move(connection, launch.id, "running", "w")
        assert launches.unfinished(connection) == []
