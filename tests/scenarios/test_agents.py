"""Agents and real trainings, as separate processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest

from tests.agents.llm.endpoints import answering, completion, saying
from tests.scenarios.shell import Shell

pytestmark = pytest.mark.scenario


def agent(shell: Shell, *arguments: str) -> subprocess.Popen[str]:
    """An agent of the run ``job``, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "branchtrack", "agent", "job", *arguments],
        cwd=shell.folder,
        text=True,
        env=shell.variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def wait_for_run(shell: Shell) -> None:
    while '"nodes"' not in shell.command("tree", "job", "--json", code=None):
        time.sleep(0.2)


def test_a_guard_that_is_killed_goes_on_and_rolls_back_once(shell: Shell) -> None:
    shell.copy("diverging")
    with shell.start("diverging") as training:
        wait_for_run(shell)
        arguments = ("--policy", "guard", "--mode", "act")
        with agent(shell, *arguments) as first:
            time.sleep(3)
            first.send_signal(signal.SIGKILL)
        with agent(shell, *arguments) as second:
            printed, _ = training.communicate(timeout=200)
            said, _ = second.communicate(timeout=60)
    assert training.returncode == 0, printed
    assert second.returncode == 0, said
    asked = [row for row in shell.json("requests", "job") if row["kind"] == "rewind"]
    assert [(row["state"], row["actor"]) for row in asked] == [("done", "guard (policy)")], said
    (row,) = shell.json("agents")
    assert row["branch"] != "main" and row["state"] == "ended"
    assert row["spent"]["branches"] == 1


def test_a_proposal_of_a_model_is_approved_and_proved(shell: Shell) -> None:
    shell.copy("diverging")
    answer = json.dumps({"action": "set", "values": {"lr": 0.05}, "reason": "it is too high"})
    with answering(saying(completion(answer, prompt_tokens=5))) as asked:
        options = ("--base-url", asked.url, "--model", "small", "--option", "every=1000")
        # It is stopped once the proposal was approved, however long that takes.
        with shell.start("diverging", "100000") as training:
            wait_for_run(shell)
            with agent(shell, "--policy", "llm", *options) as coach:
                while not (waiting := shell.json("proposals", "job")):
                    time.sleep(0.2)
                approved = shell.json("approve", waiting[0]["id"])
                shell.json("stop", "job")
                printed, _ = training.communicate(timeout=200)
                said, _ = coach.communicate(timeout=60)
    assert training.returncode == 0, printed
    assert (approved["state"], approved["actor"]) == ("verified", "llm (llm)"), said
    (exchange,) = shell.json("agents", "--exchanges", "job/llm")
    assert (exchange["request"], exchange["outcome"]) == (approved["id"], "proposed")
    assert exchange["answer"] == answer
