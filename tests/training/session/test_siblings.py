"""Of several trainings of a script, each finds the run that is its own."""

from __future__ import annotations

from typing import Any

from branchtrack.checkpoints.packs import Store
from branchtrack.core.exactness import Trial
from branchtrack.core.records import Run
from branchtrack.db.engine import Database
from branchtrack.training.session import siblings
from branchtrack.training.session.ordinals import Order, Training
from tests.trees_for_tests import make_tree


def run(name: str, number: int = 1, of_name: int = 1) -> Run:
    training = {"name": name, "number": number, "of_name": of_name, "process": "p"}
    return Run(name, name, "main", {"training": training}, [], "", 1.0, 1.0)


def training(name: str, number: int = 1, of_name: int = 1) -> Training:
    return Training(name, number, of_name, "q")


def test_a_training_is_meant_by_its_name_and_number_of_that_name() -> None:
    fold = run("fold", number=3, of_name=2)
    assert siblings.is_meant(training("fold", 9, 2), fold, [])
    assert not siblings.is_meant(training("fold", 3, 1), fold, [fold])


def test_a_name_that_changes_with_every_start_is_found_by_its_number() -> None:
    dated = run("monday", number=2)
    others = [run("warm-up", number=1), dated]
    assert siblings.is_meant(training("tuesday", number=2), dated, others)
    assert not siblings.is_meant(training("tuesday", number=1), dated, others)
    assert not siblings.is_meant(training("warm-up", number=2), dated, others)


def test_a_run_of_an_earlier_version_is_the_first_that_comes() -> None:
    old = Run("a", "a", "main", None, [], "", 1.0, 1.0)
    assert siblings.is_meant(training("anything", 5), old, [])


def test_the_same_training_of_an_earlier_execution_is_found() -> None:
    first, second, other = run("fold", 1, 1), run("fold", 2, 2), run("final", 3, 1)
    others = [first, second, other]
    assert siblings.same(training("fold", 7, 2), others) is second
    assert siblings.same(training("fold", 1, 3), others) is None
    assert siblings.same(training("dated", 3), others) is other
    assert siblings.same(training("dated", 4), others) is None
    assert siblings.same(training("fold"), []) is None


def test_a_trial_and_a_launch_name_the_node_that_goes_on(
    sqlite_database: Database, store: Store
) -> None:
    tree = make_tree(sqlite_database, store)
    node = tree.node("main", 0, kind="root")
    order = Order(None, Trial("c", node.id, node.id).to_text())
    with sqlite_database.read() as connection:
        run, start = siblings.target(connection, order)
        assert (run.id, start) == (tree.run.id, node)
        assert siblings.of_process(connection, tree.run) == []


def test_runs_of_one_execution_share_its_process(sqlite_database: Database, store: Store) -> None:
    def command(process: str) -> dict[str, Any]:
        facts = {"name": "a", "number": 1, "of_name": 1, "process": process}
        return {"argv": [], "training": facts}

    trees = [
        make_tree(sqlite_database, store, name, command(process))
        for name, process in (("a", "p"), ("b", "q"), ("c", "p"))
    ]
    with sqlite_database.read() as connection:
        runs = siblings.of_process(connection, trees[0].run)
    assert {sibling.name for sibling in runs} == {"a", "c"}
