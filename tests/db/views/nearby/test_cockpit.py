"""One branch as it is now, whatever else its run has."""

from __future__ import annotations

import math

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.db import metrics, nodes
from branchtrack.db.engine import Database
from branchtrack.db.views.nearby import cockpit
from branchtrack.errors import NotFound
from tests.trees_for_tests import make_forked_tree


def test_a_branch_is_read_with_its_process_and_its_newest_node(
    database: Database, store: Store
) -> None:
    tree, line = make_forked_tree(database, store)
    with database.transaction() as connection:
        nodes.set_effective(connection, line[1].id, {"lr": 0.5, "step": 11})
    with database.read() as connection:
        main = cockpit.read(connection, tree.run.name, "main")
        by_id = cockpit.read(connection, tree.run.id, "cooler")
        by_prefix = cockpit.read(connection, tree.run.id[:8], "cooler")
    assert main.branch == tree.branches["main"] or main.branch.name == "main"
    assert main.segment is not None and main.segment.id == tree.segment("main").id
    assert main.head is not None and (main.head.id, main.head.step) == (line[3].id, 30)
    assert main.used == {"lr": 0.5, "step": 11} and main.launch is None and main.cursor > 0
    assert by_id == by_prefix and by_id.start_step == 10 and by_id.used == {}


def test_what_there_is_not_is_missing(database: Database, store: Store) -> None:
    tree, _line = make_forked_tree(database, store)
    with database.read() as connection, pytest.raises(NotFound) as error:
        cockpit.read(connection, tree.run.name, "coler")
    assert "cooler" in error.value.fix


def test_the_newest_nodes_and_one_more_are_choices(database: Database, store: Store) -> None:
    tree, line = make_forked_tree(database, store)
    with database.read() as connection:
        few, are_more = cockpit.newest_nodes(connection, tree.run.id, 2, line[0].id)
        every, is_cut = cockpit.newest_nodes(connection, tree.run.id, 50, line[0].id)
    assert are_more and not is_cut
    assert [choice.id for choice in few[2:]] == [line[0].id]
    assert len(every) == 6 and {choice.branch for choice in every} == {"main", "cooler"}


def test_the_newest_value_of_each_series_is_in_its_tail_or_its_last_block(
    database: Database, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "BLOCK", 8)
    tree, _line = make_forked_tree(database, store)
    tree.points("main", "sealed", range(1, 9))
    tree.points("main", "both", range(1, 12))
    tree.points("main", "undefined", range(1, 3), [1.0, math.nan])
    names = ["sealed", "both", "undefined", "none"]
    with database.read() as connection:
        values = cockpit.newest_values(connection, tree.segment("main").id, names)
    assert values == {"sealed": (8, 8.0), "both": (11, 11.0)}
