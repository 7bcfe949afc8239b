"""Launches on a real Slurm: submitted once, followed, cancelled, gone on with, and never stuck."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from branchtrack import control, processes
from branchtrack.checkpoints.packs import Store
from branchtrack.config import Config
from branchtrack.core.launchers.jobs import job_name
from branchtrack.core.records import Launch
from branchtrack.db import audit, integrity, metrics, runs
from branchtrack.db.engine import Database
from branchtrack.db.orders import jobs
from branchtrack.errors import InvalidInput
from branchtrack.launching.clusters import job_files
from branchtrack.launching.clusters.shepherd import Shepherd
from branchtrack.launching.worker import Worker
from tests.launching.helpers import (
    branchtrack,
    change_entry_point,
    environment,
    fork_effective,
    is_withdrawn,
    reread,
    segment_status,
)
from tests.slurm_for_tests import Slurm

pytestmark = pytest.mark.slurm

Order = Callable[..., Launch]
Now = Callable[[Launch], Launch]
Until = Callable[[Callable[[], Any]], None]
Train = Callable[..., None]
#: A training that goes on until it is ended, and makes a node first.
LONG = ("--steps", "9000", "--seconds", "0.05", "--on-sigterm")


def steps_of(database: Database, branch: str) -> list[int]:
    """The steps of a branch's nodes, the first that was made first."""
    from branchtrack.db import nodes

    with database.read() as connection:
        found = runs.find_branch(connection, f"fake/{branch}")
        return [node.step for node in nodes.of_branch(connection, found.id)]


def has_trained(database: Database, launch: Launch) -> bool:
    with database.read() as connection:
        found = metrics.read(connection, [launch.segment_id], "loss")
    return any(series.steps.size for series in found.values())


def is_over(launch: Launch) -> bool:
    return launch.state in ("ended", "failed", "cancelled") and launch.job_state not in (
        None,
        "PENDING",
        "RUNNING",
        "COMPLETING",
    )


def test_a_launch_is_carried_out_by_a_job(
    slurm: Slurm,
    on_slurm: Order,
    shepherd: Shepherd,
    until: Until,
    now: Now,
    train: Train,
    database: Database,
    config: Config,
) -> None:
    train("--steps", "6")
    launch = on_slurm("cool", "-p", "main", settings={"lr": "0.5"})
    shepherd.look()
    submitted = reread(database, launch)
    assert submitted.state in ("queued", "starting", "running") and submitted.job
    for ending in ("sh", "env"):
        file = config.logs / f"{launch.id}.job.{ending}"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert config.database_url not in (config.logs / f"{launch.id}.job.sh").read_text()
    until(lambda: is_over(now(launch)))
    ended = reread(database, launch)
    assert (ended.state, ended.exit_code, ended.error) == ("ended", 0, None)
    assert (ended.job_state, ended.job_reason) == ("COMPLETED", None) and ended.job_host
    assert fork_effective(database, launch)["lr"] == 0.5
    assert segment_status(database, launch) == "finished"
    assert not (config.logs / f"{launch.id}.job.env").exists()
    assert slurm.jobs().count(job_name(launch.id)) == 1
    with database.read() as connection:
        events = [e for e in audit.since(connection, launch.run_id) if e.ref == launch.id]
        assert audit.first_broken_seq(connection, launch.run_id) is None
        problems = [p for p in integrity.of_database(connection) if p.kind == "launch"]
    assert [event.state for event in events][-3:] == ["starting", "running", "ended"]
    assert f"Submitted to Slurm as job {ended.job}." in [event.reason for event in events]
    assert problems == []


def test_workers_of_the_home_leave_it_alone_and_submit_it(
    slurm: Slurm, on_slurm: Order, worker: Worker, now: Now, until: Until, train: Train
) -> None:
    train("--steps", "3")
    launch = on_slurm("next")
    worker.run(threading.Event(), only=launch.id)
    assert now(launch).state == "queued" and now(launch).job is None
    worker.run(threading.Event(), once=True)
    assert now(launch).job is not None and not worker.children
    until(lambda: is_over(now(launch)))
    assert now(launch).state == "ended" and worker.name != now(launch).worker


def test_a_waiting_job_says_why_and_is_cancelled_with_its_branch(
    slurm: Slurm, on_slurm: Order, until: Until, now: Now, database: Database
) -> None:
    launch = on_slurm("held", "--hold")
    until(lambda: now(launch).job_reason)
    waiting = now(launch)
    assert (waiting.state, waiting.job_state) == ("queued", "PENDING")
    assert waiting.job_reason == "JobHeldUser" and waiting.job_host is None
    cancelled = control.cancel_launch(database, launch.id, actor="ann")
    assert cancelled.state == "cancelled" and is_withdrawn(database, launch)
    until(lambda: slurm.state(waiting.job or "") == "CANCELLED")
    until(lambda: now(launch).job_state == "CANCELLED")


def test_a_training_job_is_cancelled_by_a_node(
    slurm: Slurm, on_slurm: Order, until: Until, now: Now, train: Train, database: Database
) -> None:
    train(*LONG)
    launch = on_slurm("long")
    until(lambda: has_trained(database, launch))
    control.cancel_launch(database, launch.id, actor="ann")
    until(lambda: is_over(now(launch)))
    assert now(launch).state == "cancelled" and "ann" in (now(launch).error or "")
    assert segment_status(database, launch) == "stopped"
    assert steps_of(database, "long")[-1] > 0
    assert slurm.state(now(launch).job or "") == "COMPLETED"


def test_usr1_before_a_limit_makes_a_node(
    slurm: Slurm, on_slurm: Order, until: Until, now: Now, train: Train, database: Database
) -> None:
    train(*LONG)
    launch = on_slurm("limit", "--time=10", "--signal=B:USR1@60")
    until(lambda: has_trained(database, launch))
    slurm.call("scancel", "--batch", "--signal=USR1", now(launch).job or "")
    until(lambda: is_over(now(launch)))
    assert now(launch).state == "ended" and segment_status(database, launch) == "stopped"
    assert steps_of(database, "limit")[-1] > 0
    with database.read() as connection:
        events = [e for e in audit.since(connection, launch.run_id) if e.ref == launch.id]
    said = f"Slurm job {now(launch).job} received SIGUSR1; its training is sent SIGTERM."
    assert said in [event.reason for event in events]
    # It may not run again: somebody has to say so.
    assert now(launch).id == launch.id and now(launch).job_state == "FAILED"


def test_with_requeue_usr1_has_the_same_job_go_on(
    slurm: Slurm, on_slurm: Order, until: Until, now: Now, train: Train, database: Database
) -> None:
    train(*LONG)
    launch = on_slurm("again", "--requeue", "--signal=B:USR1@60")
    until(lambda: has_trained(database, launch))
    job = now(launch).job or ""
    slurm.call("scancel", "--batch", "--signal=USR1", job)
    until(lambda: now(launch).id != launch.id)
    waiting = now(launch)
    assert (waiting.retry_of, waiting.job, waiting.branch_id) == (launch.id, job, launch.branch_id)
    slurm.hasten(job)
    until(lambda: has_trained(database, now(launch)))
    control.cancel_launch(database, now(launch).id, actor="ann")
    until(lambda: is_over(now(launch)))
    assert steps_of(database, "again") == sorted(steps_of(database, "again"))


@pytest.mark.parametrize("makes_node", [True, False], ids=["with a node", "killed"])
def test_a_requeued_job_goes_on_in_the_same_branch(
    makes_node: bool,
    slurm: Slurm,
    on_slurm: Order,
    until: Until,
    now: Now,
    train: Train,
    database: Database,
) -> None:
    train(*LONG[: None if makes_node else -1])
    launch = on_slurm("same")
    until(lambda: has_trained(database, launch))
    job = now(launch).job or ""
    before = steps_of(database, "same")[-1]
    train("--steps", "2000", "--seconds", "0.001")
    slurm.requeue(job)
    until(lambda: now(launch).id != launch.id and is_over(now(launch)))
    again = now(launch)
    assert (again.state, again.job, again.branch_id) == ("ended", job, launch.branch_id)
    assert segment_status(database, again) == "finished"
    assert slurm.jobs().count(job_name(launch.id)) == 1
    steps = steps_of(database, "same")
    assert steps == sorted(steps) and steps[-1] == 2000
    assert before == 0 and (steps[1] > 0) == makes_node
    with database.read() as connection:
        assert audit.first_broken_seq(connection, launch.run_id) is None


def test_a_job_that_others_cancelled_is_found(
    slurm: Slurm, on_slurm: Order, until: Until, now: Now, train: Train, database: Database
) -> None:
    train(*LONG)
    held, training = on_slurm("held", "--hold"), on_slurm("training")
    until(lambda: now(held).job and has_trained(database, training))
    slurm.call("scancel", now(held).job or "")
    slurm.call("scancel", now(training).job or "")
    until(lambda: is_over(now(held)) and is_over(now(training)))
    assert now(held).state == "failed" and is_withdrawn(database, held)
    assert f"Slurm says of job {now(held).job}: CANCELLED" in (now(held).error or "")
    # The signal that ends a job has a node made first.
    assert now(training).state == "ended" and now(training).job_state == "CANCELLED"
    assert segment_status(database, training) == "stopped"


def test_a_job_that_dies_without_a_word_is_found(
    slurm: Slurm, on_slurm: Order, until: Until, now: Now, train: Train, database: Database
) -> None:
    train(*LONG)
    launch = on_slurm("dies")
    until(lambda: has_trained(database, launch))
    for pid in ((now(launch).worker or "").split(":")[1], str(now(launch).pid)):
        os.kill(int(pid), signal.SIGKILL)
    until(lambda: is_over(now(launch)))
    lost = now(launch)
    assert lost.state == "failed" and segment_status(database, launch) == "failed"
    said = f"Slurm says of job {lost.job} on {lost.job_host}: FAILED (NonZeroExitCode), by squeue."
    assert lost.error == said


def test_a_training_whose_worker_was_killed_is_not_lost_while_it_lives(
    slurm: Slurm,
    on_slurm: Order,
    until: Until,
    now: Now,
    train: Train,
    shepherd: Shepherd,
    database: Database,
    store: Store,
) -> None:
    train(*LONG)
    launch = on_slurm("orphan")
    until(lambda: has_trained(database, launch))
    job = now(launch).job or ""
    os.kill(int((now(launch).worker or "").split(":")[1]), signal.SIGKILL)
    until(lambda: now(launch).job_state == "FAILED")
    shepherd.look(at_once=True)
    assert now(launch).state == "running" and slurm.state(job) == "FAILED"
    with pytest.raises(InvalidInput, match="is being trained by process"):
        control.continue_branch(database, store, launch.branch_id, actor="me")
    control.cancel_launch(database, launch.id, actor="ann")
    until(lambda: now(launch).state == "cancelled")
    assert segment_status(database, launch) == "stopped" and steps_of(database, "orphan")[-1] > 0
    until(lambda: not processes.is_alive(now(launch).pid or 0))


def test_a_node_that_fails_ends_its_launches(
    slurm: Slurm, on_slurm: Order, until: Until, now: Now, train: Train, database: Database
) -> None:
    train(*LONG)
    launch = on_slurm("failing", "--no-requeue")
    until(lambda: has_trained(database, launch))
    node = f"nodename={now(launch).job_host}"
    slurm.call("scontrol", "update", node, "state=down", "reason=test")
    until(lambda: is_over(now(launch)))
    # It registers again by itself.
    until(lambda: "down" not in slurm.call("sinfo", "-h", "-o", "%T"))
    assert now(launch).state in ("failed", "ended") and now(launch).job_state == "NODE_FAIL"
    assert segment_status(database, launch) in ("failed", "stopped")


def test_a_launch_that_is_given_retries_gets_another_job(
    slurm: Slurm, on_slurm: Order, until: Until, now: Now, train: Train, database: Database
) -> None:
    train("--steps", "40", "--seconds", "0.02")
    launch = on_slurm("tried", "--hold", retries=1)
    until(lambda: now(launch).job)
    first = now(launch).job or ""
    slurm.call("scancel", first)
    until(lambda: now(launch).job not in (None, first))
    assert (now(launch).state, now(launch).retries) == ("queued", 0)
    slurm.call("scontrol", "release", now(launch).job or "")
    until(lambda: is_over(now(launch)))
    assert now(launch).state == "ended"


def test_options_of_the_environment_make_no_other_job_of_a_launch(
    slurm: Slurm,
    on_slurm: Order,
    until: Until,
    now: Now,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SBATCH_ARRAY_INX", "1-2")
    monkeypatch.setenv("SBATCH_SIGNAL", "KILL@60")
    launch = on_slurm("alone", "--hold")
    until(lambda: now(launch).job)
    shown = slurm.call("scontrol", "show", "job", now(launch).job or "")
    assert "ArrayTaskId" not in shown and "KILL" not in shown
    slurm.call("scancel", now(launch).job or "")


def test_what_sbatch_refuses_leaves_nothing_but_the_reason(
    slurm: Slurm, on_slurm: Order, shepherd: Shepherd, now: Now, database: Database
) -> None:
    launch = on_slurm("nowhere", "--partition=nope")
    shepherd.look()
    refused = now(launch)
    assert refused.state == "failed" and is_withdrawn(database, launch)
    assert "sbatch refused the job: invalid partition specified: nope" in (refused.error or "")


#: A submitter that is killed right before or after it submits.
KILLED = """
import os, signal, sys
from branchtrack import config, processes
from branchtrack.db.schema import open_database
from branchtrack.launching.clusters import slurm
from branchtrack.launching.clusters.shepherd import Shepherd
submit = slurm.Slurm.submit
def dies(self, order, keep=()):
    if sys.argv[1] == "after":
        submit(self, order, keep)
    os.kill(os.getpid(), signal.SIGKILL)
slurm.Slurm.submit = dies
found = config.load()
Shepherd(open_database(found), found, processes.own_name()).look()
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_submitter_that_is_killed_leaves_one_job(
    moment: str,
    slurm: Slurm,
    on_slurm: Order,
    shepherd: Shepherd,
    until: Until,
    now: Now,
    train: Train,
    database: Database,
    config: Config,
    tmp_path: Path,
) -> None:
    train("--steps", "3")
    launch = on_slurm("once", "--hold")
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    done = subprocess.run(
        [sys.executable, str(script), moment], env=environment(config), timeout=60
    )
    assert done.returncode == -9
    begun = now(launch)
    assert (begun.job, begun.job_state, begun.state) == (None, "SUBMITTING", "queued")
    until(lambda: now(launch).job)
    assert slurm.jobs().count(job_name(launch.id)) == 1
    slurm.call("scontrol", "release", now(launch).job or "")
    until(lambda: is_over(now(launch)))
    assert now(launch).state == "ended"


def test_a_second_job_of_a_launch_does_nothing(
    slurm: Slurm,
    on_slurm: Order,
    shepherd: Shepherd,
    until: Until,
    now: Now,
    train: Train,
    config: Config,
) -> None:
    train(*LONG)
    launch = on_slurm("twice")
    until(lambda: now(launch).state == "running")
    order = job_files.order(config, launch.id, [])
    from branchtrack.launching.clusters.slurm import Slurm as Cluster

    second = Cluster().submit(order)
    until(lambda: slurm.state(second) in ("COMPLETED", "CANCELLED"))
    assert now(launch).job != second and now(launch).state == "running"
    slurm.call("scancel", now(launch).job or "")
    until(lambda: is_over(now(launch)))


def test_the_shell_submits_follows_and_exits_as_the_launch_did(
    slurm: Slurm, on_slurm: Order, train: Train, config: Config, database: Database
) -> None:
    train("--steps", "6")
    order = ("resume", "fake@0", "--on", "slurm", "--set", "lr=0.1,0.2", "--name", "shell")
    with branchtrack(config, *order, "--dry-run", "--", "-p", "main") as process:
        shown, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and "-pmain" in shown and "#!/bin/bash" in shown
    with database.read() as connection:
        assert jobs.unsubmitted(connection) == [] and jobs.with_jobs(connection) == []
        run = runs.find_run(connection, "fake")
        assert [branch.name for branch in runs.list_branches(connection, run.id)] == ["main"]
    with branchtrack(config, *order, "--json", "--", "-p", "main") as process:
        printed, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert printed.count('"state": "ended"') == 2 and printed.count('"COMPLETED"') == 2
    with branchtrack(config, *order[:-1], "bad", "--", "--partition=nope") as process:
        printed, _ = process.communicate(timeout=120)
    assert process.returncode == 1 and "sbatch refused" in printed
    change_entry_point(database, argv=[sys.executable, "-c", "import time; time.sleep(60)"])


def test_each_training_of_a_trial_is_a_job(slurm: Slurm, on_slurm: Order, config: Config) -> None:
    order = ("trial", "fake@0", "--aa", "--repeats", "1", "--steps", "2", "--on", "slurm")
    with branchtrack(config, *order, "--json", "--", "-p", "main") as process:
        printed, errors = process.communicate(timeout=150)
    assert process.returncode == 0, errors
    (pair,) = json.loads(printed)["pairs"]
    launched = [side["launch"] for side in pair["sides"]]
    assert all(slurm.jobs().count(job_name(launch)) == 1 for launch in launched)
    assert pair["difference"] == 0.0
