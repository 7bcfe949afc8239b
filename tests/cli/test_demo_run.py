"""What a demonstration says of trainings that die, and what it makes of its branches."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from typing import Any

import pytest

from branchtrack.analysis import payloads
from branchtrack.checkpoints.packs import Store
from branchtrack.cli import demo_run
from branchtrack.cli.context import CommandLine
from branchtrack.cli.demo_run import COOLER, LOWER, TOO_HIGH, Demonstration
from branchtrack.config import Config
from branchtrack.db.engine import Database
from tests.trees_for_tests import make_forked_tree, make_tree


@pytest.fixture
def demonstration(sqlite_config: Config, sqlite_database: Database) -> Demonstration:
    """A demonstration that says nothing."""
    demonstration = Demonstration(CommandLine(sqlite_config), sqlite_database, 30, lambda _: None)
    demonstration.log.parent.mkdir(parents=True, exist_ok=True)
    demonstration.log.write_text("Traceback\nMemoryError: no more\n")
    return demonstration


def ended(code: int) -> Any:
    process = subprocess.Popen([sys.executable, "-c", f"raise SystemExit({code})"])
    process.wait()
    return process


def test_the_learning_rates_come_down() -> None:
    assert TOO_HIGH > LOWER > COOLER


def test_a_training_that_died_is_reported_with_its_last_lines(demonstration: Demonstration) -> None:
    error = demonstration._died(ended(3))
    assert "MemoryError: no more" in error.what and error.facts["exit_code"] == 3
    assert str(demonstration.log) in error.fix and "--steps" not in error.fix


def test_a_training_that_was_too_short_to_be_steered_says_so(
    demonstration: Demonstration,
) -> None:
    assert "try more --steps" in demonstration._died(ended(0)).fix


def test_the_segment_of_a_training_that_died_is_closed(
    demonstration: Demonstration, sqlite_database: Database, store: Store
) -> None:
    process: Any = type("Process", (), {"pid": os.getpid(), "returncode": -9})
    demonstration.started = time.time() - 60
    demonstration._close_segment(process)
    tree = make_tree(sqlite_database, store)
    demonstration._close_segment(process)
    assert tree.segment("main").status == "failed"
    demonstration._close_segment(process)


def test_a_process_that_has_ended_is_not_waited_for() -> None:
    demo_run._end(ended(0))


def test_a_branch_is_summed_up_by_its_last_loss_and_its_own_changes(
    sqlite_database: Database, store: Store
) -> None:
    tree, _nodes = make_forked_tree(sqlite_database, store)
    tree.points("cooler", "loss", range(21, 22), [math.nan])
    tree.points("cooler", "eval_loss", range(21, 22), [math.nan])
    with sqlite_database.read() as connection:
        payload = payloads.tree(connection, tree.run)
        outcome = demo_run._outcome(connection, tree.branches["cooler"], payload)
    assert (outcome["name"], outcome["loss"], outcome["eval_loss"]) == ("cooler", 120.0, None)
    assert [change["step"] for change in outcome["changed"]] == [10]
