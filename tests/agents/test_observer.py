"""Runs as agents see them."""

from __future__ import annotations

from branchtrack import control
from branchtrack.agents import observer
from branchtrack.checkpoints.packs import Store
from branchtrack.db import runs
from branchtrack.db.engine import Database
from tests.agents.benches import look
from tests.control.samples import SET_LR
from tests.trees_for_tests import make_forked_tree, make_tree


def test_a_view_has_the_line_the_curve_and_the_siblings(database: Database, store: Store) -> None:
    make_forked_tree(database, store)
    seen = look(database, "demo/cooler")
    assert [node.step for node in seen.nodes] == [0, 10, 10, 20]
    assert list(seen.curve("loss").points())[9:11] == [(10, 10.0), (11, 111.0)]
    (main,) = seen.siblings
    assert (main.name, main.forked_at, main.metrics["loss"]) == ("main", None, 30.0)
    assert seen.own is not None
    assert (seen.own.parent, seen.own.forked_at) == ("main", 10)
    assert seen.own.changes == {"lr": 0.001}
    assert (seen.status, seen.max_steps, seen.settings["lr"]) == ("running", 1000, 0.01)
    assert seen.declared["lr"].live and seen.is_live


def test_only_the_metrics_that_are_wanted_are_read(sqlite_database: Database, store: Store) -> None:
    tree = make_tree(sqlite_database, store)
    tree.points("main", "loss", range(1, 4))
    tree.points("main", "speed", range(1, 4))
    assert set(look(sqlite_database).curves) == {"loss", "speed"}
    with sqlite_database.read() as connection:
        branch = runs.find_branch(connection, "demo")
        assert set(observer.observe(connection, branch, ["loss"]).curves) == {"loss"}


def test_what_was_tried_is_seen_with_its_state(sqlite_database: Database, store: Store) -> None:
    make_tree(sqlite_database, store)
    control.submit(sqlite_database, "demo", SET_LR, actor="ann", reason="why")
    (tried,) = look(sqlite_database).tried
    assert (tried["who"], tried["state"], tried["reason"]) == ("ann", "accepted", "why")


def test_a_branch_that_nothing_trained_is_seen(sqlite_database: Database, store: Store) -> None:
    tree = make_tree(sqlite_database, store)
    tree.branch("later", train=False)
    seen = look(sqlite_database, "demo/later")
    assert (seen.status, seen.is_live, len(seen.curve("loss"))) == ("waiting", False, 0)


def test_the_updates_of_a_run_are_counted(sqlite_database: Database, store: Store) -> None:
    tree = make_tree(sqlite_database, store)
    with sqlite_database.read() as connection:
        assert observer.run_steps(connection, tree.branches["main"]) == 0


def test_a_metric_that_the_run_has_not_logged_is_a_warning_with_those_it_has(
    database: Database, store: Store
) -> None:
    def warning(metric: str) -> str:
        with database.read() as connection:
            branch = runs.find_branch(connection, "demo")
            return observer.metric_warning(connection, branch, metric)

    tree = make_tree(database, store)
    assert warning("nope") == ""
    tree.points("main", "loss", range(1, 4))
    assert warning("loss") == ""
    assert warning("nope") == "demo has logged no metric 'nope' yet. It has loss."
    for number in range(13):
        tree.points("main", f"a{number:02}", [1])
    assert warning("nope").endswith("a10, a11 and 2 more.")
