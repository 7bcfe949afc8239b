"""`certify` as a user calls it: what it prints, its exit codes, and real trainings tried again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.config import Config
from branchtrack.core.records import Node
from branchtrack.db import nodes, runs
from branchtrack.db.engine import Database
from branchtrack.db.views import tree_outline
from tests.cli.conftest import Call, call_on, train_here
from tests.launching.helpers import ROOT, SCRIPT, environment, wait_until
from tests.trees_for_tests import Tree

KEYS = {
    "id",
    "run",
    "branch",
    "from",
    "to",
    "from_step",
    "to_step",
    "steps",
    "exact",
    "state",
    "words",
    "difference",
    "untested",
    "environment",
    "digest",
    "actor",
    "created_at",
}


@pytest.fixture
def made(sqlite_config: Config, sqlite_database: Database) -> list[Node]:
    """The two nodes of a run ``fake``."""
    train_here(sqlite_config, "--steps", "4")
    with sqlite_database.read() as connection:
        return nodes.of_branch(connection, runs.find_branch(connection, "fake").id)


def test_an_exact_stretch_is_told_and_shown(call: Call, made: list[Node], monkeypatch: Any) -> None:
    monkeypatch.setenv("FAKE_TRIAL", "exact")
    found = call("certify", "fake", "--json")
    assert found.code == 0 and found.json.keys() == KEYS
    assert found.json["exact"] is True and found.json["state"] == "exact"
    assert (found.json["from"], found.json["to"]) == (made[0].id, made[1].id)
    assert (found.json["run"], found.json["branch"], found.json["steps"]) == ("fake", "main", 4)
    said = call("certify", "fake", "--from", made[0].id[:6])
    assert said.code == 0 and "certified exact" in said.out and "threads 1, device cpu" in said.out
    (branch,) = call("tree", "fake", "--json").json["branches"]
    assert branch["certificate"].keys() == KEYS - {"run"}
    assert branch["certificate"]["state"] == "exact"
    assert "main: finished, step 4 of 4, certified exact (steps 0 to 4)" in call("tree", "fake").out


def test_a_difference_is_told_and_is_a_failure(
    call: Call, made: list[Node], monkeypatch: Any
) -> None:
    monkeypatch.setenv("FAKE_TRIAL", "differs")
    found = call("certify", "fake", "--json")
    assert found.code == 1 and found.json["state"] == "differs"
    assert found.json["difference"]["name"] == "model/weight"
    said = call("certify", "fake")
    assert said.code == 1
    assert "the tensor model/weight differs, first at [3], by up to 0.5" in said.out
    assert "not exact (steps 0 to 4)" in call("tree", "fake").out


def test_a_process_that_fails_leaves_no_certificate(
    call: Call, made: list[Node], monkeypatch: Any
) -> None:
    monkeypatch.setenv("FAKE_TRIAL", "crash")
    found = call("certify", "fake", "--json")
    assert found.code == 1 and "the loss exploded in the trial" in found.json["error"]["what"]
    assert call("tree", "fake", "--json").json["branches"][0]["certificate"] is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("demo", "--steps", "0"), "from 1 on"),
        (("demo", "--steps", "31"), "at most 30 steps"),
        (("demo", "--from", "nope"), "There is no node"),
        (("nothing",), "There is no run"),
        (("demo/empty",), "There is no stretch of training to try again"),
    ],
)
def test_what_cannot_be_tried_is_bad_input(
    given: tuple[str, ...], said: str, call: Call, forked: tuple[Tree, list[Node]]
) -> None:
    tree, made = forked
    tree.branch("empty", made[1])
    found = call("certify", *given)
    assert found.code == 2 and said in found.err


def test_a_damaged_node_is_refused_before_anything_starts(
    call: Call,
    made: list[Node],
    store: Store,
    sqlite_database: Database,
    sqlite_config: Config,
    monkeypatch: Any,
) -> None:
    monkeypatch.setenv("FAKE_TRIAL", "exact")
    with sqlite_database.read() as connection:
        stored = nodes.checkpoint(connection, made[0].state_digest)
    path = Path(store.describe(next(iter(stored.locations.values())).pack))
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-4] + b"oops")
    found = call("certify", "fake")
    assert found.code == 1 and "cannot be restored" in found.err
    assert list(sqlite_config.logs.iterdir()) == []


def test_a_branch_may_train_on_meanwhile(
    call: Call, sqlite_config: Config, sqlite_database: Database, monkeypatch: Any
) -> None:
    monkeypatch.setenv("FAKE_TRIAL", "exact")
    command = [sys.executable, str(SCRIPT), "fake", "--steps", "900", "--seconds", "0.02"]
    with subprocess.Popen(
        command, env=environment(sqlite_config), stdout=subprocess.DEVNULL, cwd=sqlite_config.home
    ) as training:
        wait_until(lambda: "main" in call("tree", "fake").out)
        wait_until(lambda: call("checkpoint", "fake").code == 0)
        newest = call("tree", "fake", "--json").json["nodes"][-1]
        found = call("certify", "fake", "--json")
        assert training.poll() is None
        training.kill()
    assert found.code == 0 and found.json["to"] == newest["id"]
    assert newest["kind"] == "checkpoint"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a real script has trained with two threads, in a home of its own."""
    folder = tmp_path_factory.mktemp("real")
    code, _out, err = run(folder, str(Path(__file__).parent / "plain_script.py"))
    assert code == 0, err
    return folder


def start(folder: Path, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    (folder / "temporary").mkdir(exist_ok=True)
    env = {
        **os.environ,
        "BRANCHTRACK_HOME": "home",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "2",
        "THREADS": "2",
        "TMPDIR": str(folder / "temporary"),
        **variables,
    }
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def run(folder: Path, *arguments: str) -> tuple[int, str, str]:
    process = start(folder, *arguments)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def test_a_real_training_is_tried_again_in_a_new_process(trained: Path) -> None:
    files = sorted(trained.rglob("*.safetensors"))
    code, out, err = run(trained, "-m", "branchtrack", "certify", "tiny", "--steps", "8", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["state"] == "exact" and told["untested"] == [], told
    assert told["environment"]["threads"] == 2 and told["steps"] == 9
    assert sorted(trained.rglob("*.safetensors")) == files
    assert temporary(trained) == []
    assert list((trained / "home" / "logs").iterdir()) == []


# A trial that nobody waits for, in one process: tests/training/session/unrecorded/test_replay.py.
@pytest.mark.exhaustive
def test_a_trial_whose_command_is_killed_leaves_no_process_and_no_file(trained: Path) -> None:
    before = rows(trained)
    command = ("-m", "branchtrack", "certify", "tiny", "--steps", "14")
    # Slow enough to be killed in the middle, however seldom this process looks.
    with start(trained, *command, PAUSE="0.5") as process:
        wait_until(lambda: bool(list((trained / "temporary").glob("branchtrack-*/step"))))
        process.kill()
        process.communicate(timeout=60)
    wait_until(lambda: temporary(trained) == [])
    assert rows(trained) == before


def test_ctrl_c_ends_a_trial_and_leaves_nothing(
    made: list[Node], sqlite_config: Config, sqlite_database: Database
) -> None:
    env = {**environment(sqlite_config), "FAKE_TRIAL": "sleep"}
    command = [sys.executable, "-m", "branchtrack", "certify", "fake"]
    with subprocess.Popen(command, env=env, start_new_session=True) as process:
        wait_until(lambda: "trial starts" in "".join(map(Path.read_text, logs(sqlite_config))))
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert logs(sqlite_config) == []
    with sqlite_database.read() as connection:
        outline = tree_outline.trees(connection, [made[0].run_id])[made[0].run_id]
        assert outline.certificates == {}


def logs(config: Config) -> list[Path]:
    """The logs of trials and launches."""
    return list(config.logs.iterdir())


def temporary(folder: Path) -> list[Path]:
    """What is left of ours in the folder for temporary files."""
    return list((folder / "temporary").glob("branchtrack-*"))


def rows(folder: Path) -> Any:
    done = call_on(folder / "home", "tree", "tiny", "--json")
    assert done.code == 0, done.err
    return done.json
