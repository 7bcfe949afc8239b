"""A worker trains to a thinned node again, and then trains on from it, as one launch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from branchtrack import control
from branchtrack.checkpoints.location import open_store
from branchtrack.config import Config
from branchtrack.core.records import Node
from branchtrack.db import integrity, nodes, runs
from branchtrack.db.engine import Database
from branchtrack.db.orders import withdrawals
from branchtrack.db.schema import open_database
from branchtrack.db.storage import thinning
from branchtrack.environment_variables import LAUNCH_VARIABLE
from branchtrack.errors import CheckpointThinned
from branchtrack.launching import foreground, rebuilt_start
from branchtrack.launching.worker import Worker
from tests.launching.test_rebuilding import SCRIPT, trained


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return trained(tmp_path_factory.mktemp("rebuilt"))


@pytest.fixture
def database(config: Config) -> Iterator[Database]:
    opened = open_database(config)
    yield opened
    opened.close()


def thinned_node(database: Database, step: int, left: str = "recipe") -> Node:
    """The node at that step, thinned."""
    with database.transaction() as connection:
        node = nodes.find(connection, f"tiny@{step}")
        thinning.mark(connection, {node.state_digest: left})
    return node


def test_a_launch_from_a_recipe_rebuilds_it_and_trains_on(
    config: Config, database: Database
) -> None:
    node = thinned_node(database, 4)
    store = open_store(config.store)
    order = control.ForkOrder((node.id,), settings={"lr": "x0.5"})
    (line,) = control.preview_launches(database, store, order, actor="ann")["branches"]
    assert "its checkpoint was thinned: the worker trains to it again first" in line["warnings"]
    launch = control.create_launch(
        database, store, node.id, actor="ann", settings={"lr": "x0.5"}, name="side"
    )
    ended = foreground.run_launch(Worker(database, config), launch.id, lambda *_: None)
    assert (ended.state, ended.exit_code) == ("ended", 0)
    assert f"rebuilding node {node.id} in 2 updates" in Path(ended.log or "").read_text()
    with database.read() as connection:
        assert nodes.thinned(connection, node.state_digest) is None
        head = nodes.find(connection, "tiny/side")
        assert (head.step, head.settings["lr"]) == (8, 0.005)
        assert integrity.of_database(connection) == []


def test_a_recipe_that_leads_elsewhere_is_the_reason_of_the_failure(
    config: Config, database: Database
) -> None:
    node = thinned_node(database, 2)
    script = config.home.parent / "script.py"
    script.write_text(SCRIPT.replace("FACTOR", "2.0"))
    launch = control.create_launch(
        database, open_store(config.store), node.id, actor="ann", name="elsewhere"
    )
    ended = foreground.run_launch(Worker(database, config), launch.id, lambda *_: None)
    script.write_text(SCRIPT.replace("FACTOR", "1.0"))
    assert ended.state == "failed" and "led to the state" in (ended.error or "")
    with database.read() as connection:
        assert withdrawals.is_withdrawn(connection, ended)
        run = runs.find_run(connection, "tiny")
        assert "elsewhere" not in runs.branch_names(connection, run.id)


def test_what_has_only_weights_left_is_refused_when_it_is_ordered(
    config: Config, database: Database
) -> None:
    node = thinned_node(database, 6, "weights")
    with pytest.raises(CheckpointThinned):
        control.create_launch(database, open_store(config.store), node.id, actor="ann")


def test_a_rewind_does_not_wait_for_a_rebuild(config: Config, database: Database) -> None:
    node = thinned_node(database, 2)
    with pytest.raises(CheckpointThinned):
        control.create_launch(
            database, open_store(config.store), node.id, actor="ann", every_byte=True
        )


def test_the_command_gets_the_process_and_its_launch(config: Config, database: Database) -> None:
    with database.read() as connection:
        node = nodes.find(connection, "tiny@8")
    show = "import json, os; print(json.dumps([os.getpid(), os.environ.get('%s')]))"
    process = subprocess.Popen(
        [*rebuilt_start.command(node.id), sys.executable, "-c", show % LAUNCH_VARIABLE],
        env={**os.environ, **config.environment(), LAUNCH_VARIABLE: "f" * 16},
        stdout=subprocess.PIPE,
    )
    output, _ = process.communicate(timeout=100)
    assert json.loads(output) == [process.pid, "f" * 16]
