"""Five launches of one tree on Ray, some of them disturbed: all right, nothing stuck."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest

from tests import ray_for_tests
from tests.ray_for_tests import Ray
from tests.scenarios.shell import Shell

# One session of Ray for all of them.
pytestmark = [pytest.mark.scenario, pytest.mark.ray, pytest.mark.xdist_group("ray")]

#: Two of each rate, so that a branch that was left alone is compared with its twin.
RATES, TWINS = ("1e-3", "2e-3"), ("a", "b")
_SECONDS = 400.0


@pytest.fixture(scope="module")
def ray() -> Iterator[Ray]:
    """A real Ray of one node, for all tests of this module."""
    with ray_for_tests.running() as cluster:
        yield cluster


@contextmanager
def working(shell: Shell) -> Iterator[None]:
    """A worker of the home, which submits the launches and looks after their jobs."""
    with subprocess.Popen(
        [sys.executable, "-m", "branchtrack", "worker"], cwd=shell.folder, env=shell.variables
    ) as worker:
        try:
            yield
        finally:
            worker.terminate()


def rows_until(shell: Shell, condition: Any) -> list[dict[str, Any]]:
    """The rows of the queue, once they are as wanted."""
    deadline = time.monotonic() + _SECONDS
    while True:
        rows: list[dict[str, Any]] = shell.json("queue")["launches"]
        if condition(rows):
            return rows
        assert time.monotonic() < deadline, rows
        time.sleep(0.5)


def trains(row: dict[str, Any]) -> bool:
    return row["status"] == "running" and (row["step"] or 0) >= 14


@pytest.mark.timeout(600)
def test_of_five_launches_one_is_cancelled_and_one_stopped_and_continued(
    shell: Shell, ray: Ray
) -> None:
    shell.variables["RAY_ADDRESS"] = ray.address
    shell.train("patient_loop")
    node = shell.node("patient", 10)
    with working(shell):
        for twin in TWINS:
            order = ("resume", node, "--on", "ray", "--detach", "--name", twin, "--json")
            shell.command(*order, "--set", f"lr={','.join(RATES)}", "--", "--num-cpus=1")
        shell.command(
            *("resume", node, "--on", "ray", "--detach", "--name", "victim", "--json"),
            *("--set", "lr=3e-3", "--", "--num-cpus=1", "--memory=100M"),
        )
        rows = rows_until(
            shell, lambda rows: any(r["branch"] == "victim" and trains(r) for r in rows)
        )
        victim = next(row for row in rows if row["branch"] == "victim")
        assert victim["job"]["state"] == "RUNNING" and victim["job"]["host"]
        shell.json("cancel", victim["launch"], "--no-wait")
        rows_until(shell, lambda rows: all(row["branch"] != "victim" for row in rows))
        rows = rows_until(shell, lambda rows: any(map(trains, rows)))
        stopped = next(row for row in rows if trains(row))
        ray.client().stop_job(stopped["job"]["id"])
        rows_until(shell, lambda rows: all(row["launch"] != stopped["launch"] for row in rows))
        again = ("continue", f"patient/{stopped['branch']}", "--on", "ray", "--detach", "--json")
        shell.command(*again, "--", "--num-cpus=1")
        (shell.folder / "go").touch()
        rows_until(shell, lambda rows: not rows)
    branches = {
        branch["name"]: branch["status"] for branch in shell.json("tree", "patient")["branches"]
    }
    assert branches.pop("victim") == "stopped"
    assert set(branches.values()) == {"finished"} and len(branches) == 5
    for a, b in zip(
        *(sorted(n for n in branches if n.startswith(twin)) for twin in TWINS), strict=True
    ):
        shell.same("patient", a, b)
    steps = [n["step"] for n in shell.json("tree", "patient")["nodes"] if n["branch"] == "victim"]
    assert steps and max(steps) >= 14
    names = [job for job in ray.jobs() if job.startswith("branchtrack-")]
    assert len(names) == 6
    assert shell.json("audit", "patient", "--verify")["holds"]
    assert all(each["whole"] for each in shell.json("verify", "--all"))


@pytest.mark.timeout(600)
def test_a_job_that_others_stop_makes_a_node_and_one_that_is_gone_is_found(
    shell: Shell, ray: Ray
) -> None:
    shell.variables["RAY_ADDRESS"] = ray.address
    shell.train("patient_loop")
    node = shell.node("patient", 10)
    with working(shell):
        order = ("resume", node, "--on", "ray", "--detach", "--json", "--name")
        shell.command(*order, "stopped", "--", "--num-cpus=1")
        shell.command(*order, "waiting", "--", "--num-cpus=64")
        rows = rows_until(
            shell, lambda rows: any(map(trains, rows)) and all(r["job"]["id"] for r in rows)
        )
        waiting = next(row for row in rows if row["branch"] == "waiting")
        rows_until(shell, lambda rows: any("resources" in (r["job"]["reason"] or "") for r in rows))
        ray.client().stop_job(next(row["job"]["id"] for row in rows if trains(row)))
        rows_until(shell, lambda rows: [row["branch"] for row in rows] == ["waiting"])
        shell.json("cancel", waiting["launch"], "--no-wait")
        rows_until(shell, lambda rows: not rows)
    tree = shell.json("tree", "patient")
    assert {b["name"]: b["status"] for b in tree["branches"]}["stopped"] == "stopped"
    assert max(n["step"] for n in tree["nodes"] if n["branch"] == "stopped") >= 14
    refused = shell.command("resume", node, "--on", "ray", "--", "--num-gpu=1", code=2)
    assert "--num-cpus, --num-gpus, --memory" in refused


@pytest.mark.timeout(600)
def test_a_training_whose_script_is_killed_makes_a_node(shell: Shell, ray: Ray) -> None:
    shell.variables["RAY_ADDRESS"] = ray.address
    shell.train("patient_loop")
    node = shell.node("patient", 10)
    with working(shell):
        shell.command("resume", node, "--on", "ray", "--detach", "--name", "killed", "--json")
        (row,) = rows_until(shell, lambda rows: any(map(trains, rows)))
        # As Ray does when the node of a job ends.
        for process in psutil.process_iter(["cmdline"]):
            if f"{row['launch']}.job.sh" in " ".join(process.info["cmdline"] or ()):
                os.killpg(os.getpgid(process.pid), signal.SIGKILL)
                break
        rows_until(shell, lambda rows: not rows)
    tree = shell.json("tree", "patient")
    assert {b["name"]: b["status"] for b in tree["branches"]}["killed"] == "stopped"
    assert max(n["step"] for n in tree["nodes"] if n["branch"] == "killed") >= 14
    assert shell.json("audit", "patient", "--verify")["holds"]
