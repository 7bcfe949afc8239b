"""Launches for clusters at the shell: previews, refusals, progress, and what is left to workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from branchtrack import control
from branchtrack.checkpoints.location import open_store
from branchtrack.cli import cluster_launches
from branchtrack.core.launchers import profiles
from branchtrack.core.records import Node
from branchtrack.db import runs
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches
from branchtrack.launching.clusters import ray, registry
from tests.cli.conftest import Call, train_here
from tests.launching.clusters.fake_cluster import FakeCluster
from tests.launching.clusters.fake_ray import FakeClient
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


def test_what_waits_in_its_cluster_is_said_to_wait_there(
    call: Call, trained: str, fake: FakeCluster
) -> None:
    shown = call("resume", trained, "--on", "slurm", "--name", "far", "--detach")
    assert "waiting in its cluster" in shown.out
    call("continue", "fake", "--on", "slurm", "--detach")
    for lines in (shown.out, call("tree", "fake").out, call("runs").out):
        assert "waiting for a worker" not in lines
    assert "far: waiting in its cluster (Slurm job 1: PENDING)" in call("tree", "fake").out
    assert "waiting in its cluster" in call("runs").out
    (run,) = call("runs", "--json").json
    assert (run["status"], run["shown"]) == ("waiting", "submitted")


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
    silent = call("resume", trained, "--on", "slurm")
    assert silent.code == 1 and "Nothing was ordered" in silent.err and "goes on" not in silent.err
    for order in (
        ("resume", trained),
        ("continue", "fake"),
        ("trial", trained, "--aa", "--steps", "2"),
    ):
        assert call(*order, "--on", "slurm", "--dry-run").code == 0
    monkeypatch.undo()
    monkeypatch.setenv("PATH", str(Path("/nowhere")))
    absent = call("resume", trained, "--on", "slurm", "--json")
    assert absent.code == 2 and "has no sbatch" in absent.json["error"]["what"]
    assert ordered(sqlite_database) == []


@pytest.mark.parametrize("order", ["resume fake@0", "continue fake", "trial fake@0 --steps 2 --aa"])
@pytest.mark.parametrize("option", ["--labels gpu", "--slots 2"])
def test_what_says_something_of_workers_is_refused_with_a_cluster(
    order: str, option: str, call: Call, trained: str, fake: FakeCluster, sqlite_database: Database
) -> None:
    for more in ("", " --dry-run"):
        refused = call(*f"{order} --on slurm {option}{more}".split())
        assert refused.code == 2 and option.split()[0].lstrip("-") in refused.err
    assert ordered(sqlite_database) == [] and not fake.asked


def test_a_trial_says_nothing_of_the_launches_of_others(
    call: Call, trained: str, fake: FakeCluster, sqlite_database: Database, sqlite_config: Any
) -> None:
    launcher = profiles.launcher("slurm", "slurm", [])
    order = control.ForkOrder([trained], {}, name="other")
    store = open_store(sqlite_config.store)
    (other,) = control.create_launches(
        sqlite_database, store, order, actor="ann", launcher=launcher
    )
    fake.refusal = "sbatch refused the job: no such partition."
    refused = call(*f"trial {trained} --aa --repeats 1 --steps 2 --on slurm".split())
    said = [line for line in refused.err.splitlines() if line.startswith("Launch ")]
    assert said and len(set(said)) == len(said) and other.id not in refused.err
    with sqlite_database.read() as connection:
        assert launches.get(connection, other.id).state == "queued"


def test_without_a_terminal_each_state_of_a_job_is_a_line(
    call: Call, trained: str, fake: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = iter([("PENDING", "Resources"), ("PENDING", "Resources"), ("CANCELLED", "")])
    answer = fake.jobs

    def changing(names: Any) -> Any:
        for job in fake.submitted:
            state, reason = next(states, ("CANCELLED", ""))
            fake.say(job, state, reason=reason)
        return answer(names)

    monkeypatch.setattr(fake, "jobs", changing)
    monkeypatch.setattr(cluster_launches, "_EVERY", 0.0)
    followed = call("resume", trained, "--on", "slurm", "--name", "watched")
    said = [line for line in followed.err.splitlines() if "Slurm job 1: PENDING" in line]
    assert said[-1] == "watched: Slurm job 1: PENDING (Resources)"
    assert len(set(said)) == len(said)


@pytest.fixture
def job_api(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    """The job API of every Ray, as this machine reaches it."""
    client = FakeClient()
    monkeypatch.setattr(ray, "_connect", lambda address: client)
    monkeypatch.setattr(ray, "find_spec", lambda name: name)
    for name in ray.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return client


def test_a_dry_run_for_ray_shows_the_job(
    call: Call, trained: str, job_api: FakeClient, sqlite_database: Database
) -> None:
    order = ("resume", trained, "--on", "ray", "--dry-run", "--set", "lr=0.1")
    options = ("--address=http://head:8265", "--num-gpus", "1")
    shown = call(*order, "--", *options)
    assert shown.code == 0 and "ray job submit --address=http://head:8265" in shown.out
    job = call(*order, "--json", "--", *options).json["job"]
    assert "--submission-id=branchtrack-LAUNCH" in job["command"]
    assert "--entrypoint-num-gpus=1" in job["command"]
    assert "--job branchtrack-LAUNCH" in job["script"]
    assert ordered(sqlite_database) == [] and not job_api.orders


def test_a_profile_of_ray_and_a_variable_name_the_cluster(
    call: Call,
    trained: str,
    job_api: FakeClient,
    sqlite_database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    call("launcher", "add", "ray-gpu", "--kind", "ray", "--", "--num-gpus=1")
    monkeypatch.setenv("RAY_ADDRESS", "http://head:8265")
    answered = call("resume", trained, "--on", "ray-gpu", "--detach", "--json").json
    assert answered["where"] == f"Ray job branchtrack-{answered['launch']}: PENDING"
    (launch,) = ordered(sqlite_database)
    assert launch.launcher["options"] == ["--address=http://head:8265", "--num-gpus=1"]
    assert job_api.orders[0]["entrypoint_num_gpus"] == 1


def test_bad_input_for_ray_is_refused_with_the_way_out(
    call: Call, trained: str, job_api: FakeClient, sqlite_database: Database
) -> None:
    order = ("resume", trained, "--on", "ray", "--json", "--")
    unknown = call(*order, "--num-gpu=1")
    assert unknown.code == 2 and "--num-gpus, --memory" in str(unknown.json["error"])
    port = call(*order, "--address=http://127.0.0.1:99999")
    assert port.code == 2 and "--address=http://127.0.0.1:99999" in port.json["error"]["what"]
    nowhere = call(*order, "--num-gpus=1")
    assert nowhere.code == 2 and "--address=http://HOST:8265" in nowhere.json["error"]["what"]
    assert call("launcher", "add", "r", "--kind", "ray", "--", "--gres=gpu:1").code == 2
    job_api.error = ConnectionError("Failed to connect")
    assert call(*order, "--address=http://head:8265").code == 1
    assert ordered(sqlite_database) == []
