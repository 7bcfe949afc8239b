"""`resume` as a user runs it: a real process that trains on from a node."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from branchtrack import scripts
from branchtrack.checkpoints.packs import Store
from branchtrack.cli.launch_progress import launch_lines
from branchtrack.config import Config
from branchtrack.core.records import Node, Segment
from branchtrack.db import nodes, runs, seals, segments
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches
from branchtrack.db.tables import metadata
from tests.cli.conftest import Call, Called, train_here
from tests.launching.helpers import SCRIPT, environment, wait_until
from tests.trees_for_tests import Tree

#: A training that goes on until it is stopped.
LONG = [sys.executable, str(SCRIPT), "fake", "--steps", "9000", "--seconds", "0.05"]


@pytest.fixture
def branchtrack(sqlite_config: Config) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the command line as a process of its own, with a terminal's Ctrl-C to be sent."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "branchtrack", *arguments]
        process = subprocess.Popen(
            command,
            env=environment(sqlite_config),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with process:
            process.kill()


def first_node(database: Database) -> str:
    with database.read() as connection:
        run = runs.find_run(connection, "fake")
        return nodes.list_of_run(connection, run.id)[-1].id


def run_with(database: Database, argv: list[str]) -> None:
    """Have a resume of the run start another command."""
    with database.transaction() as connection:
        run = runs.find_run(connection, "fake")
        changed = {**(run.entry_point or {}), "argv": argv}
        connection.execute(metadata.tables["runs"].update().values(entry_point=changed))


def segment_of(database: Database, branch: str) -> Segment:
    with database.read() as connection:
        found = runs.find_branch(connection, branch)
        return segments.get(connection, found.segment_id or "")


def row_counts(database: Database) -> dict[str, int]:
    with database.read() as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in metadata.sorted_tables
        }


def told(process: subprocess.Popen[str]) -> tuple[int, Any, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, json.loads(out) if out else None, err


def answer(called: Called) -> tuple[int, Any, str]:
    """What a command answered: its exit code, its JSON and what it printed beside it."""
    return called.code, called.json if called.out else None, called.err


Start = Callable[..., subprocess.Popen[str]]


def test_a_resume_trains_a_new_branch_and_tells_what_was_read_back(
    branchtrack: Start, sqlite_config: Config, sqlite_database: Database
) -> None:
    train_here(sqlite_config, "--steps", "4")
    node = first_node(sqlite_database)
    code, launch, err = told(
        branchtrack("resume", node[:8], "--set", "lr=0.5", "--name", "hot", "--json")
    )
    assert (code, err) == (0, "")
    assert (launch["branch"], launch["node"], launch["state"]) == ("hot", node, "ended")
    assert launch["effective"]["lr"] == 0.5
    assert segment_of(sqlite_database, "fake/hot").step == 4


def test_a_resume_without_a_name_finds_one(
    call: Call, sqlite_config: Config, sqlite_database: Database
) -> None:
    train_here(sqlite_config)
    code, launch, _err = answer(call("resume", first_node(sqlite_database), "--json"))
    assert (code, launch["branch"]) == (0, "main-2")


def test_what_the_node_had_not_stored_is_told() -> None:
    names = "run branch node launch overrides compared effective error log".split()
    told = {**dict.fromkeys(names), "state": "ended", "overrides": {}}
    told["restored"] = {"weights": "restored", "trainer.buffer": "not stored"}
    lines = [line for line in launch_lines(told) if "trainer.buffer" in line or "weights" in line]
    assert len(lines) == 1 and lines[0].endswith("not stored")


def test_a_script_that_has_changed_since_is_told_in_a_line(
    call: Call, sqlite_config: Config, sqlite_database: Database, tmp_path: Path
) -> None:
    train_here(sqlite_config)
    node, script = first_node(sqlite_database), tmp_path / "train.py"
    # What the process does is no matter here.
    script.write_text("raise SystemExit(3)")
    run_with(sqlite_database, [sys.executable, "-S", str(script)])

    def made_by(digest: str | None) -> None:
        with sqlite_database.transaction() as connection:
            environment = {"script": digest} if digest else {}
            tables = metadata.tables
            connection.execute(tables["nodes"].update().values(environment=environment))
            # As if each node had been made with it.
            connection.execute(tables["events"].update().values(payload={}))
            for node_id in nodes.list_ids(connection):
                seals.renew(connection, tables["nodes"], node_id)

    for digest, changed in ((None, False), (scripts.digest(script), False), ("0" * 12, True)):
        made_by(digest)
        code, launch, err = answer(call("resume", node, "--allow-code-change", "--json"))
        assert (code, launch["script_changed"], err) == (3, changed, "")
    refused = call("resume", node, "--json")
    assert refused.code == 2 and refused.json["error"]["type"] == "CodeChanged"
    assert "train.py" in refused.json["error"]["what"]
    err = call("resume", node, "--allow-code-change").err
    assert f"The script {script} has changed since node {node} was made." in err.splitlines()


def test_what_a_resume_may_change_is_listed_and_nothing_is_started(
    call: Call, sqlite_config: Config, sqlite_database: Database
) -> None:
    train_here(sqlite_config)
    node = first_node(sqlite_database)
    before = row_counts(sqlite_database)
    code, found, err = answer(call("resume", node, "--list", "--json"))
    assert (code, err, row_counts(sqlite_database)) == (0, "", before)
    rate = next(one for one in found if one["name"] == "lr")
    assert rate.keys() >= {"value", "dtype", "minimum", "maximum", "unit", "about", "choices"}
    assert rate["allowed"] == "a finite number greater than 0 and at most 100"
    text = call("resume", node, "--list").out
    assert "base (peak) learning rate" in text and "allowed: a finite number" in text
    code, _, err = answer(call("resume", "ffff", "--list"))
    assert code == 2 and "ffff" in err


def test_the_exit_code_is_that_of_the_training(
    call: Call, sqlite_config: Config, sqlite_database: Database, store: Store
) -> None:
    train_here(sqlite_config, "--steps", "2")
    node = first_node(sqlite_database)
    crash = "import sys; print('it is all too much', file=sys.stderr); sys.exit(7)"
    run_with(sqlite_database, [sys.executable, "-c", crash])
    code, launch, _err = answer(call("resume", node, "--json"))
    assert (code, launch["state"]) == (7, "failed")
    assert launch["error"] == "The process ended with exit code 7. it is all too much"


def test_a_refusal_is_told_whole_and_its_name_can_be_used_again(
    call: Call, sqlite_config: Config, sqlite_database: Database
) -> None:
    train_here(sqlite_config, "--steps", "2")
    node, values = first_node(sqlite_database), (f"{'1, ' * 900}end", f"{'2, ' * 900}end")
    words = f"betas is {values[0]} in the script and was {values[1]} in the node."
    ways = "Put betas back, or declare the change: --set betas=NEW"
    refuse = (
        "import atexit; from branchtrack.errors import CheckpointMismatch\n"
        "atexit.register(lambda: print('bye\\n' * 9))\n"
        f"raise CheckpointMismatch({words!r}, fix={ways!r})"
    )
    run_with(sqlite_database, [sys.executable, "-c", refuse])
    code, launch, _err = answer(call("resume", node, "--name", "hot", "--json"))
    assert code == 1 and f"{words} {ways}" in launch["error"]
    out = call("resume", node, "--name", "hot").out
    assert f"{words} {ways}" in out
    assert "nothing: the branch is gone, and its name is free" in out
    assert branches(sqlite_database) == ["main"]


def test_a_script_that_was_moved_is_given(
    call: Call, sqlite_config: Config, sqlite_database: Database, tmp_path: Path
) -> None:
    train_here(sqlite_config, "--steps", "3")
    node, new = first_node(sqlite_database), tmp_path / "moved.py"
    with sqlite_database.transaction() as connection:
        entry = runs.find_run(connection, "fake").entry_point or {}
        gone = {**entry, "argv": [entry["argv"][0], "/no/such.py", *entry["argv"][2:]]}
        connection.execute(metadata.tables["runs"].update().values(entry_point=gone))
    code, refused, err = answer(call("resume", node, "--name", "a", "--json"))
    assert code == 1 and "The script /no/such.py that trained the run is gone" in err
    assert f"`branchtrack resume {node} --script PATH --cwd DIR`" in refused["error"]["fix"]
    new.write_text(SCRIPT.read_text())
    where = ("--script", str(new), "--cwd", str(tmp_path))
    code, launch, err = answer(call("resume", node, "--name", "a", *where, "--json"))
    assert (code, launch["state"], launch["branch"]) == (0, "ended", "a")


@pytest.mark.parametrize(
    ("option", "value", "field"),
    [
        ("--env", "BRANCHTRACK_HOME=/x", "env"),
        ("--accept", "", "accept"),
        ("--accept", "a,,b", "accept"),
        ("--cwd", "", "cwd"),
        ("--script", "", "script"),
    ],
)
def test_an_option_that_says_nothing_or_too_much_is_refused(
    call: Call, forked: tuple[Tree, list[Node]], option: str, value: str, field: str
) -> None:
    refused = call("resume", forked[1][0].id, option, value, "--json")
    error = json.loads(refused.out)["error"]
    assert refused.code == 2 and error["what"].startswith(f"{field}: ")
    assert error["fix"].startswith("Allowed: ")


def test_a_script_that_does_not_train_is_not_remembered(
    call: Call, sqlite_config: Config, sqlite_database: Database, tmp_path: Path
) -> None:
    train_here(sqlite_config, "--steps", "3")
    node, other = first_node(sqlite_database), tmp_path / "other.py"
    other.write_text("raise SystemExit(3)")
    with sqlite_database.read() as connection:
        before = runs.find_run(connection, "fake").entry_point
    code, launch, _err = answer(call("resume", node, "--script", str(other), "--json"))
    assert (code, launch["state"], launch["withdrawn"]) == (3, "failed", True)
    with sqlite_database.read() as connection:
        assert runs.find_run(connection, "fake").entry_point == before
    code, refused, _err = answer(call("resume", node, "--script", "/no/such", "--json"))
    assert code == 2 and refused["error"]["facts"]["field"] == "script"


def test_a_detached_resume_returns_and_trains(
    branchtrack: Start, sqlite_config: Config, sqlite_database: Database
) -> None:
    train_here(sqlite_config, "--steps", "3")
    node = first_node(sqlite_database)
    code, launch, _err = told(branchtrack("resume", node, "--name", "away", "--detach", "--json"))
    assert (code, launch["branch"]) == (0, "away")
    wait_until(lambda: segment_of(sqlite_database, "fake/away").status == "finished")


def test_ctrl_c_stops_the_training_at_a_node(
    branchtrack: Start, sqlite_config: Config, sqlite_database: Database
) -> None:
    train_here(sqlite_config, "--steps", "3")
    node = first_node(sqlite_database)
    run_with(sqlite_database, LONG)
    process = branchtrack("resume", node, "--name", "cut")
    wait_until(lambda: "cut" in branches(sqlite_database))
    wait_until(lambda: segment_of(sqlite_database, "fake/cut").step > 0)
    process.send_signal(signal.SIGINT)
    _out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Stopping at a node" in err and "Traceback" not in err
    found = segment_of(sqlite_database, "fake/cut")
    assert found.status == "stopped"
    with sqlite_database.read() as connection:
        head = nodes.find(connection, "fake/cut")
    assert (head.kind, head.step) == ("final", found.step)


def branches(database: Database) -> list[str]:
    with database.read() as connection:
        run = runs.find_run(connection, "fake")
        return [branch.name for branch in runs.list_branches(connection, run.id)]


def test_a_worker_ended_by_a_signal_leaves_its_children_and_says_so(
    branchtrack: Start, sqlite_config: Config, sqlite_database: Database, store: Store
) -> None:
    from branchtrack import control

    train_here(sqlite_config, "--steps", "2")
    control.create_launch(
        sqlite_database, store, first_node(sqlite_database), actor="me", name="long"
    )
    run_with(sqlite_database, LONG)
    process = branchtrack("worker", "--leave-running")
    wait_until(lambda: segment_of(sqlite_database, "fake/long").status == "running")
    process.send_signal(signal.SIGTERM)
    _out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "fake/long (pid" in err and "continues by itself" in err
    before = segment_of(sqlite_database, "fake/long").step
    wait_until(lambda: segment_of(sqlite_database, "fake/long").step > before)
    control.submit(sqlite_database, "fake/long", {"kind": "stop"}, actor="me")
    wait_until(lambda: segment_of(sqlite_database, "fake/long").status == "stopped")
    # A second worker finds out how it ended.
    assert branchtrack("worker", "--once").wait(60) == 0
    with sqlite_database.read() as connection:
        assert launches.unfinished(connection) == []


@pytest.mark.parametrize("harm", ["cut", "remove"])
def test_a_node_whose_bytes_are_not_whole_is_refused_and_nothing_changes(
    call: Call, sqlite_config: Config, sqlite_database: Database, store: Store, harm: str
) -> None:
    train_here(sqlite_config, "--steps", "2")
    node = first_node(sqlite_database)
    with sqlite_database.read() as connection:
        stored = nodes.checkpoint(connection, nodes.get(connection, node).state_digest)
    (place,) = stored.locations.values()
    path = Path(store.describe(place.pack))
    if harm == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.unlink()
    before = row_counts(sqlite_database)
    code, refused, err = answer(call("resume", node, "--name", "again", "--json"))
    expected = {"cut": "CheckpointDamaged", "remove": "CheckpointMissing"}[harm]
    assert (code, refused["error"]["type"]) == (1, expected)
    assert str(path) in err and "another node" in err
    assert row_counts(sqlite_database) == before


def test_several_branches_are_trained_and_listed(
    call: Call, sqlite_config: Config, sqlite_database: Database
) -> None:
    train_here(sqlite_config, "--steps", "4")
    code, listed, err = answer(
        call(
            "resume", "fake@0", "--set", "lr=x0.5,x2", "weight_decay=0.1", "--slots", "2", "--json"
        )
    )
    assert (code, err) == (0, "")
    assert [(each["branch"], each["group"], each["state"]) for each in listed] == [
        ("lr-x0.5", "lr", "ended"),
        ("lr-x2", "lr", "ended"),
    ]
    assert [each["overrides"] for each in listed] == [
        {"lr": 0.005, "weight_decay": 0.1},
        {"lr": 0.02, "weight_decay": 0.1},
    ]
    text = call("resume", "fake@0,fake@4", "--name", "again", "--dry-run").out
    assert "again-at-0" in text and "again-at-4" in text


def test_if_one_of_several_fails_the_others_train_and_the_exit_code_is_1(
    call: Call, sqlite_config: Config, sqlite_database: Database
) -> None:
    train_here(sqlite_config, "--steps", "4")
    argv = [sys.executable, str(SCRIPT), "fake", "--steps", "4", "--crash-at", "1"]
    run_with(sqlite_database, argv)
    code, listed, _err = answer(call("resume", "fake@0", "--set", "lr=0.1,0.2", "--json"))
    assert (code, [each["state"] for each in listed]) == (1, ["failed", "failed"])
    assert "2 branches" not in call("runs").out


def test_a_dry_run_says_what_would_be_created_and_creates_nothing(
    call: Call, sqlite_config: Config, sqlite_database: Database
) -> None:
    train_here(sqlite_config, "--steps", "4")
    before = row_counts(sqlite_database)
    once = call("resume", "fake@0", "--set", "lr=x0.5", "--dry-run")
    assert once.code == 0 and "fake/main-2" in once.out
    assert "lr 0.01 → 5e-3 (lr x0.5)" in once.out and "4 steps, to step 4" in once.out
    several = call("resume", "fake@0", "--grid", "lr=1,2", "weight_decay=0,0.1", "--dry-run")
    assert several.code == 0 and "4 branches" in several.out and "16 steps in all" in several.out
    refused = call("resume", "fake@0", "--set", "lr=x0", "--dry-run", "--json")
    assert refused.code == 2 and refused.json["branches"][0]["error"]["field"] == "lr"
    assert call("resume", "fake@0", "--set", "lr=1e-3,-1", "--dry-run").code == 2
    assert row_counts(sqlite_database) == before


def test_a_dry_run_is_refused_for_what_the_real_order_is_refused_for(
    call: Call, sqlite_config: Config
) -> None:
    train_here(sqlite_config, "--steps", "2")
    for bad in (["--labels", "a b"], ["--priority", "5000"], ["--retry", "-1"], ["--group", "a b"]):
        real, dry = (call("resume", "fake@0", *bad, *more) for more in ([], ["--dry-run"]))
        assert (real.code, dry.code) == (2, 2) and real.err == dry.err


def test_the_difference_is_said_before_training_starts(
    call: Call, sqlite_config: Config, sqlite_database: Database
) -> None:
    train_here(sqlite_config, "--steps", "2")
    out = call("resume", "fake@0", "--set", "lr=0.5", "--name", "hot").out
    assert out.index("lr 0.01 → 0.5") < out.index("launch")
    assert "the same as main" in call("resume", "fake@0", "--dry-run").out
    assert "the same as hot" in call("resume", "fake@0", "--set", "lr=0.5", "--dry-run").out


def test_detached_branches_are_trained_by_a_worker_of_their_own(
    branchtrack: Start, sqlite_config: Config, sqlite_database: Database
) -> None:
    train_here(sqlite_config, "--steps", "3")
    code, listed, _err = told(
        branchtrack("resume", "fake@0", "--set", "lr=0.1,0.2", "--detach", "--slots", "2", "--json")
    )
    assert (code, [each["branch"] for each in listed]) == (0, ["lr-0.1", "lr-0.2"])
    for name in ("lr-0.1", "lr-0.2"):
        wait_until(
            lambda name=name: segment_of(sqlite_database, f"fake/{name}").status == "finished"
        )


def test_a_broken_pipe_is_quiet(branchtrack: Start, sqlite_config: Config) -> None:
    for _number in range(3):
        train_here(sqlite_config, "--steps", "1")
    process = branchtrack("runs")
    assert process.stdout is not None
    process.stdout.close()
    time.sleep(0.1)
    assert process.stderr is not None and process.stderr.read() == ""
    process.wait(60)
