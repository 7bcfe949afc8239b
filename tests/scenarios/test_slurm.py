"""Twenty jobs of one tree, a third of them preempted or cancelled: all right, nothing stuck."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.scenarios.shell import Shell
from tests.slurm_for_tests import Slurm

pytestmark = [pytest.mark.scenario, pytest.mark.slurm]

RATES = ("1e-3", "2e-3", "3e-3", "4e-3", "5e-3")
TWINS = "abcd"
#: What befalls a job that trains, by its branch. Of each rate some are left alone.
REQUEUED = ["a-lr-0.001", "a-lr-0.002", "a-lr-0.003", "b-lr-0.001", "b-lr-0.002"]
CANCELLED = ["a-lr-0.004", "b-lr-0.005"]
_SECONDS = 900.0


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


def trained(row: dict[str, Any]) -> bool:
    return row["status"] == "running" and (row["step"] or 0) >= 14


def disturb(shell: Shell, slurm: Slurm, row: dict[str, Any], branch: str) -> None:
    """Have a cluster preempt a job, or a person cancel it."""
    if branch in CANCELLED:
        shell.json("cancel", row["launch"], "--no-wait")
    else:
        slurm.requeue(row["job"]["id"])


def spelled(branch: str) -> str:
    """The name of a branch with its rate as in the lists above."""
    stem, _, rate = branch.rpartition("-lr-")
    return f"{stem}-lr-{float(rate):g}"


@pytest.mark.timeout(1200)
def test_twenty_jobs_of_which_a_third_is_disturbed_end_right(shell: Shell, slurm: Slurm) -> None:
    shell.variables["SLURM_CONF"] = slurm.configuration
    shell.train("patient_loop")
    node = shell.node("patient", 10)
    victims = {spelled(branch) for branch in (*REQUEUED, *CANCELLED)}
    ordered = []
    with working(shell):
        for twin in TWINS:
            order = ("resume", node, "--on", "slurm", "--detach", "--name", twin, "--json")
            rates = ("--set", f"lr={','.join(RATES)}")
            printed = shell.command(*order, *rates, "--", "--cpus-per-task=1", "--requeue")
            ordered.append(printed)
        deadline, left = time.monotonic() + _SECONDS, set(victims)
        while True:
            rows = shell.json("queue")["launches"]
            for row in rows:
                if spelled(row["branch"]) in left and trained(row):
                    left.discard(spelled(row["branch"]))
                    disturb(shell, slurm, row, spelled(row["branch"]))
            if not left:
                (shell.folder / "go").touch()
            if not rows:
                break
            assert time.monotonic() < deadline, rows
    assert left == set() and len(ordered) == len(TWINS)
    check(shell, slurm, victims)


def check(shell: Shell, slurm: Slurm, victims: set[str]) -> None:
    """Every branch ended as it would have alone, and the record is whole."""
    branches = {spelled(b["name"]): b for b in shell.json("tree", "patient")["branches"][1:]}
    assert len(branches) == len(RATES) * len(TWINS)
    for rate in RATES:
        names = [name for name in branches if name.endswith(f"-{float(rate):g}")]
        alone = next(name for name in names if name not in victims)
        for name in names:
            status = branches[name]["status"]
            if name in CANCELLED:
                assert status == "stopped", name
                continue
            assert status == "finished", name
            shell.same("patient", branches[alone]["name"], branches[name]["name"])
    names = [name for name in slurm.jobs() if name.startswith("branchtrack-")]
    assert len(names) == len(set(names)) == len(branches)
    assert shell.json("audit", "patient", "--verify")["holds"]
    assert all(each["whole"] for each in shell.json("verify", "--all"))
    assert shell.json("queue")["launches"] == []
