"""Launches for clusters at the shell: previews, refusals, progress, and what is left to workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from branchtrack.core.records import Node
from branchtrack.db import runs
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches
from branchtrack.launching.clusters import registry
from tests.cli.conftest import Call, train_here
from tests.launching.clusters.fake_cluster import FakeCluster
from tests.trees_for_tests import Tree

Forked = tuple[Tree, list[Node]]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    """A cluster that stands for Slurm."""
    cluster = FakeCluster()
    monkeypatch.setattr(registry, "_CLUSTERS", {"slurm": lambda options: cluster})
    return cluster


@pytest.fixture
def trained(call: Call, sqlite_database: Database, sqlite_config: Any) -> str:
    """The first node of a run that a process trained here."""
    train_here(sqlite_config, "--steps", "3")
    with sqlite_database.read() as connection:
        return runs.find_run(connection, "fake").name + "@0"


def ordered(database: Database) -> list[Any]:
    with database.read() as connection:
        return launches.unfinished(connection)


def test_a_dry_run_shows_the_job_and_changes_nothing(
    call: Call, trained: str, fake: FakeCluster, sqlite_database: Database
) -> None:
    order = ("resume", trained, "--on", "slurm", "--dry-run", "--set", "lr=0.1,0.2")
    shown = call(*order, "--", "-p", "main")
    assert shown.code == 0 and "would submit submit -pmain branchtrack-LAUNCH" in shown.out
    assert "worker --launch LAUNCH --job" in shown.out
    job = call(*order, "--json", "--", "-p", "main").json["job"]
    assert job["command"] == ["submit", "-pmain", "branchtrack-LAUNCH"]
    assert job["launcher"] == "slurm" and job["script"].startswith("#!/bin/bash")
    going_on = call("continue", "fake", "--on", "slurm", "--dry-run", "--json", "--", "-H").json
    assert going_on[0]["job"]["command"][1] == "-H"
    trial = f"trial {trained} --aa --repeats 1 --steps 2 --on slurm --dry-run".split()
    assert "would submit" in call(*trial).out
    assert ordered(sqlite_database) == [] and not fake.submitted


def test_detached_launches_are_submitted_and_left(
    call: Call, trained: str, fake: FakeCluster, sqlite_database: Database
) -> None:
    call("launcher", "add", "gpu", "--kind", "slurm", "--", "--requeue")
    order = ("resume", trained, "--on", "gpu", "--set", "lr=0.1,0.2", "--detach", "--json")
    answered = call(*order, "--", "--time=10").json
    assert [each["job"]["id"] for each in answered] == ["1", "2"]
    assert {each["where"] for each in answered} == {"Slurm job 1: PENDING", "Slurm job 2: PENDING"}
    assert {each["launcher"] for each in answered} == {"gpu"}
    options = [launch.launcher["options"] for launch in ordered(sqlite_database)]
    assert options == [["--requeue", "--time=10"]] * 2
    # The queue asks what has become of them.
    fake.say("1", "PENDING", reason="Resources")
    rows = call("queue", "--json").json["launches"]
    assert rows[0]["where"] == "Slurm job 1: PENDING (Resources)"
    assert rows[0]["status"] == "submitted" and "Resources" in call("queue").out
    assert call("cancel", rows[0]["launch"]).code == 0
    assert "cancel 1" in fake.asked


def test_a_refused_job_exits_with_1_and_leaves_no_branch(
    call: Call, trained: str, fake: FakeCluster, sqlite_database: Database
) -> None:
    fake.refusal = "sbatch refused the job: no such partition."
    refused = call("resume", trained, "--on", "slurm", "--name", "far")
    assert refused.code == 1 and "no such partition" in refused.out
    assert "nothing: the branch is gone" in refused.out
    with sqlite_database.read() as connection:
        run = runs.find_run(connection, "fake")
        assert [branch.name for branch in runs.list_branches(connection, run.id)] == ["main"]


def test_bad_input_is_refused_before_anything_is_made(
    call: Call,
    trained: str,
    fake: FakeCluster,
    sqlite_database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert call("resume", trained, "--on", "tpu").code == 2
    assert call("resume", trained, "--on", "slurm", "--", "train.sh").code == 2
    assert call("continue", "fake", "--on", "tpu").code == 2
    assert call("trial", trained, "--aa", "--on", "tpu").code == 2
    fake.is_up = False
    assert call("resume", trained, "--on", "slurm").code == 1
    monkeypatch.undo()
    monkeypatch.setenv("PATH", str(Path("/nowhere")))
    absent = call("resume", trained, "--on", "slurm", "--json")
    assert absent.code == 2 and "has no sbatch" in absent.json["error"]["what"]
    assert ordered(sqlite_database) == []
