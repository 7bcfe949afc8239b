"""Everything that the two published systems can do to a live run, done to ours from the shell.

Each test is named after their command or action. One Trainer trains in a process of its own, and
what is asserted is what that process answered.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from branchtrack.cli.main import cli
from branchtrack.core.names import new_id
from tests.training.homes import Home

ROOT = Path(__file__).parent.parent.parent


class Live:
    """A training in another process, and the shell beside it."""

    def __init__(self, home: Home, process: subprocess.Popen[bytes]) -> None:
        self.home, self.process, self.branch = home, process, "tiny/main"

    def ask(self, command: str, *words: str, code: int = 0, reason: str = "why") -> Any:
        """Call the command line; what it printed, as JSON."""
        given = ["--home", str(self.home.config.home), command, self.branch, *words, "--json"]
        given += ["--reason", reason] if reason else []
        found = CliRunner().invoke(cli, given)
        assert found.exit_code == code, found.output
        return json.loads(found.stdout)

    def settings(self) -> dict[str, Any]:
        """The settings in force, as the process last told."""
        return self.home.segment(self.branch).settings


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("live")
    home = Home(folder)
    environment = {**os.environ, **home.config.environment(), "OMP_NUM_THREADS": "1"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.training.live_script", str(folder)],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + 90
        while not (home.runs() and home.segment().step > 3):
            assert process.poll() is None and time.monotonic() < deadline, (
                folder / "log"
            ).read_text()
            time.sleep(0.05)
        yield Live(home, process)
    finally:
        process.kill()
        process.wait(60)
        home.close()


def test_update_optimizer_and_set_knob(live: Live) -> None:
    found = live.ask("set", "lr=0.0005", "weight_decay=0.1", "betas=0.8,0.95")
    assert found["state"] == "verified" and found["before"]["lr"] == 0.001
    assert found["applied"] == {"lr": 0.0005, "weight_decay": 0.1, "betas": [0.8, 0.95]}
    assert found["effective"]["betas"] == [0.8, 0.95]
    assert live.ask("set", "max_grad_norm=0.5")["state"] == "verified"


def test_the_schedule_and_the_loop(live: Live) -> None:
    found = live.ask(
        "set",
        "lr_scheduler_type=constant",
        "schedule_from=hold",
        "max_steps=50000",
        "gradient_accumulation_steps=2",
        "logging_steps=5",
        "label_smoothing_factor=0.1",
    )
    assert found["state"] == "verified", found
    assert live.ask("set", "scale=0.5")["state"] == "verified"


def test_save_checkpoint(live: Live) -> None:
    found = live.ask("checkpoint", "--message", "kept")
    assert found["state"] == "done" and found["node"]
    assert live.home.node_of(found["node"]).message == "why; kept"


def test_do_evaluate(live: Live) -> None:
    assert live.ask("evaluate")["result"]["metrics"]["eval_loss"] > 0


def test_update_dataset_and_its_runtime_hyperparameters(live: Live) -> None:
    found = live.ask("set", "data.shift=3")
    assert found["state"] == "verified" and found["effective"]["data.shift"] == 3
    assert found["result"]["from_sample"]["data.shift"] > 0


def test_model_layer_operation(live: Live) -> None:
    assert live.ask("freeze", "transformer.h.0")["applied"] == {"frozen": "transformer.h"}
    assert live.ask("unfreeze", "transformer.h.0.mlp")["state"] == "verified"
    assert live.ask("unfreeze", "*")["applied"] == {"frozen": ""}


def test_model_layer_parameter_update(live: Live) -> None:
    found = live.ask("set", "model.transformer.drop.p=0.35")
    assert (found["state"], found["before"]) == ("verified", {"model.transformer.drop.p": 0.2})


def test_reset_layer_and_reset_module(live: Live) -> None:
    found = live.ask("reset", "transformer.h.0.mlp")
    assert found["state"] == "done" and found["result"]["parameters"] > 1000


def test_an_action_of_the_applications_own(live: Live) -> None:
    assert live.ask("act", "shout", "times=2")["result"] == {"returned": "hoho"}
    assert live.ask("act", "shout", "times=9", code=2)["error"]["facts"]["field"]


def test_note_and_set_context(live: Live) -> None:
    assert live.ask("note", "looks better", reason="")["state"] == "done"


def test_pause_training_and_resume_training(live: Live) -> None:
    assert live.ask("pause")["state"] == "done"
    step = live.home.segment(live.branch).step
    assert live.ask("evaluate")["step"] == live.ask("set", "lr=0.0007")["step"] == step
    assert live.home.segment(live.branch).status == "paused"
    assert live.ask("unpause")["state"] == "done"


def test_load_checkpoint_with_and_without_fork(live: Live) -> None:
    node = next(one for one in live.home.nodes() if one.message.endswith("kept"))
    found = live.ask("rewind", node.id, "--name", "again", "--set", "lr=0.002")
    assert found["state"] == "done" and found["result"]["branch"] == "again"
    live.branch = "tiny/again"
    segment = live.home.segment(live.branch)
    # Everything is as it was at that node but for what was asked.
    assert (segment.pid, segment.settings["lr"]) == (live.process.pid, 0.002)
    assert segment.settings["data.shift"] == 0
    assert segment.settings["model.transformer.drop.p"] == 0.2
    assert segment.settings["label_smoothing_factor"] == 0.1
    assert live.ask("evaluate")["state"] == "done"


def test_stop_training(live: Live) -> None:
    assert live.ask("stop")["state"] == "done"
    assert live.process.wait(60) == 0
    assert live.home.segment(live.branch).status == "stopped"
    assert "stopped" in live.ask("set", "lr=0.1", code=1)["error"]["what"]
    assert live.home.chain_break() is None


def test_a_killed_process_is_shown_as_such_and_answers_nothing_for_ever(live: Live) -> None:
    home = live.home
    node = home.nodes("tiny/again")[-1]
    launch = home.order(node, {}, name=f"killed-{new_id()[:4]}")
    environment = {**os.environ, **home.config.environment(), "BRANCHTRACK_LAUNCH": launch.id}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.training.live_script", str(home.folder)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    live.branch = f"tiny/{home.branch_of(launch)}"
    deadline = time.monotonic() + 60
    while home.segment(live.branch).status != "running" and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGSTOP)
    asked = live.ask("set", "lr=0.1", "--no-wait")
    process.kill()
    process.wait(60)
    assert live.ask("evaluate", code=1)["error"]["type"] == "NotLive"
    assert home.request(asked["id"]).state == "expired"
    assert home.chain_break() is None
