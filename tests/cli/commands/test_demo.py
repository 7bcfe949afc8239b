"""`demo` for real, only shorter: two processes train, one is steered, and the proof is told."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from branchtrack.cli import demo_run
from branchtrack.cli.demo_run import COOLER, LOWER, TOO_HIGH
from branchtrack.config import Config, load
from branchtrack.db import nodes, runs, segments
from branchtrack.db.engine import Database
from branchtrack.db.schema import open_database
from tests.cli.conftest import Call, call_on
from tests.launching.helpers import environment

STEPS = 60
EXHAUSTIVE = pytest.mark.exhaustive
# On a loaded machine two trainings one after the other take their time.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module", params=["stand-in", pytest.param("real", marks=EXHAUSTIVE)])
def python(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Python that the demonstration runs its example with."""
    if request.param == "real":
        return sys.executable
    script = Path(__file__).parent / "fake_demo.py"
    # Its first words are `-m` and the module of the example.
    return executable(
        tmp_path_factory.mktemp("stand-in"), f'shift 2; exec {sys.executable} {script} "$@"'
    )


@pytest.fixture(scope="module")
def home(python: str, tmp_path_factory: pytest.TempPathFactory) -> Config:
    return load(tmp_path_factory.mktemp("demo") / "home")


@pytest.fixture(scope="module")
def told(python: str, home: Config) -> dict[str, Any]:
    """What the demo says in JSON, after it has run in a home of its own."""
    with pytest.MonkeyPatch.context() as patch:
        # One thread each: tests that run side by side would wait for each other's threads.
        for name, value in {**environment(home), "OMP_NUM_THREADS": "1"}.items():
            patch.setenv(name, value)
        patch.setattr(demo_run.sys, "executable", python)
        patch.chdir(home.home.parent)
        done = call_on(home.home, "demo", "--no-serve", "--json", "--steps", str(STEPS))
    assert done.code == 0, done.err
    found: dict[str, Any] = done.json
    return found


def executable(folder: Path, command: str) -> str:
    """The path of a program that runs a shell's command."""
    program = folder / "python"
    program.write_text(f"#!/bin/sh\n{command}\n")
    program.chmod(0o755)
    return str(program)


def test_the_intervention_is_verified_by_what_the_update_used(told: dict[str, Any]) -> None:
    request = told["intervention"]
    assert (request["kind"], request["state"]) == ("set", "verified")
    assert (request["before"], request["applied"]) == ({"lr": TOO_HIGH}, {"lr": LOWER})
    assert request["effective"]["lr"] == LOWER
    assert request["effective"]["step"] == request["step"] + 1
    assert "too high" in request["reason"]


def test_the_intervention_is_a_node_of_the_tree(told: dict[str, Any]) -> None:
    node = next(n for n in told["tree"]["nodes"] if n["id"] == told["intervention"]["node"])
    assert node["kind"] == "intervention"
    assert node["changes"] == [{"name": "lr", "before": TOO_HIGH, "after": LOWER}]


def test_an_earlier_node_was_resumed_in_a_process_of_its_own(told: dict[str, Any]) -> None:
    launch = told["resume"]
    assert (launch["branch"], launch["state"], launch["exit_code"]) == ("cooler", "ended", 0)
    assert launch["effective"]["lr"] == COOLER
    forked = next(n for n in told["tree"]["nodes"] if n["id"] == launch["node"])
    assert 0 < forked["step"] < told["intervention"]["step"]


def test_both_branches_trained_to_the_end_and_are_compared(told: dict[str, Any]) -> None:
    assert [branch["name"] for branch in told["branches"]] == ["main", "cooler"]
    for branch in told["tree"]["branches"]:
        assert (branch["status"], branch["step"]) == ("finished", STEPS)
    for branch in told["branches"]:
        assert 1.0 < branch["eval_loss"] < 6.0 and 1.0 < branch["loss"] < 6.0
        assert len(branch["changed"]) == 1


def test_every_node_can_be_restored(told: dict[str, Any], home: Config) -> None:
    done = call_on(home.home, "verify", "--all", "--json")
    assert done.code == 0, done.err
    assert len(done.json) == len(told["tree"]["nodes"])


def test_nothing_is_written_outside_the_home(told: dict[str, Any], home: Config) -> None:
    assert [path.name for path in home.home.parent.iterdir()] == ["home"]


def test_a_taken_port_is_told_before_anything_is_trained(call: Call, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found = call("demo", "--port", str(taken.getsockname()[1]))
    assert found.code == 2 and "already in use" in found.err
    assert call("runs", "--json").json == []


def test_a_training_that_dies_is_told_and_exits_with_1(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    dying = executable(tmp_path, "echo 'no room left'\nexit 3")
    monkeypatch.setattr(demo_run.sys, "executable", dying)
    found = call("demo", "--no-serve")
    assert found.code == 1
    assert "ended early" in found.err and "exit code 3" in found.err and "no room left" in found.err


def test_a_training_that_dies_in_the_middle_leaves_nothing_open(
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    sqlite_database: Database,
    sqlite_config: Config,
) -> None:
    fake = Path(__file__).parents[2] / "launching" / "fake_training.py"
    command = f"exec {sys.executable} {fake} demo --steps 900 --seconds 0.01 --crash-at 20"
    dying = executable(tmp_path, command)
    for name, value in environment(sqlite_config).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(demo_run.sys, "executable", dying)
    found = call("demo", "--no-serve")
    assert found.code == 1 and "the loss exploded at step 20" in found.err
    with sqlite_database.read() as connection:
        (segment,) = segments.list_of_run(connection, runs.find_run(connection, "demo").id)
    assert segment.status == "failed"


def test_a_second_demo_in_the_same_home_makes_another_run(
    told: dict[str, Any], home: Config
) -> None:
    # The run's name is given out by the same function, whoever asks for it.
    database = open_database(home)
    with database.transaction() as connection:
        second = runs.create_run(connection, "demo", actor="test")
        assert nodes.list_of_run(connection, second.id) == []
    database.close()
    assert (told["run"], second.name) == ("demo", "demo-2")
