"""Alerts of real trainings: noticed, offered, followed, and sent."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

import branchtrack
from branchtrack.control.alerts import watch
from branchtrack.core.agents.records import Alert
from branchtrack.db import nodes, runs, segments
from branchtrack.db.watching import alerts
from branchtrack.environment_variables import (
    WEBHOOK_LEVEL_VARIABLE,
    WEBHOOK_PRIVATE_VARIABLE,
    WEBHOOK_VARIABLE,
)
from tests.control.alerts.receivers import receiving
from tests.training import loops, tiny
from tests.training.homes import Home

ROOT = Path(__file__).parent.parent.parent


def raised(home: Home) -> list[Alert]:
    with home.database.read() as connection:
        return alerts.after(connection, 0, 1000)


def train(home: Home, launch: Any = None, *, bad_from: int | None = None, steps: int = 20) -> None:
    """A plain loop whose loss is NaN from an update on."""
    model = loops.net()
    optimizer = loops.sgd(model)
    with loops.process(home, launch):
        run = branchtrack.start(
            "tiny",
            model=model,
            optimizer=optimizer,
            data=loops.loader(),
            max_steps=steps,
            save_steps=2,
        )
        for batch in run.batches():
            loss = loops.loss_of(model, batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            is_bad = bad_from is not None and run.update >= bad_from
            run.log(loss=math.nan if is_bad else loss.item())
            if run.update == 5:
                run.alert("a quarter is done", level="warn", metric="loss", value=loss.item())
            if run.step():
                break
        run.finish()


def test_nan_offers_a_fork_that_begins_clean_and_is_well(home: Home) -> None:
    train(home, bad_from=13)
    script, nan = raised(home)
    assert (script.kind, script.level, script.step) == ("script", "warn", 5)
    assert (nan.kind, nan.step) == ("nan", 13)
    assert nan.offer is not None and nan.offer["step"] == 10
    assert nan.text.endswith("(step 10) with lr x0.5")
    with home.database.read() as connection:
        node = nodes.get(connection, nan.offer["node"])
    launch = home.order(node, nan.offer["settings"], name=nan.offer["name"])
    train(home, launch)
    assert raised(home) == [script, nan]
    with home.database.read() as connection:
        branch = runs.find_branch(connection, f"tiny/{nan.offer['name']}")
        assert segments.get(connection, branch.segment_id or "").settings["lr"] == 0.05


def test_a_trainer_says_what_its_callbacks_have_to_say(home: Home) -> None:
    class Talking(tiny.BranchingTrainer):
        """Says one thing at update 3."""

        def training_step(self, *arguments: Any, **how: Any) -> Any:
            if self.state.global_step == 3:
                self.alert("three", level="error")
            return super().training_step(*arguments, **how)

    home.train(kind=Talking)
    assert [(a.text, a.level, a.step) for a in raised(home)] == [("three", "error", 3)]


def test_a_trainer_without_a_training_under_way_only_warns(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = tiny.trainer(tiny.BranchingTrainer, home.folder)
    trainer.alert("too early")
    assert "not recorded" in caplog.text


def test_a_trial_of_exactness_repeats_no_alert(home: Home) -> None:
    train(home, bad_from=13)
    before = raised(home)
    start, target = home.nodes("tiny/main")[2], home.nodes("tiny/main")[4]
    home.rehearse(start, target, train=lambda: train(home, bad_from=13))
    assert raised(home) == before


def test_an_error_of_the_script_is_a_crash_that_is_sent_before_the_process_ends(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving() as receiver:
        monkeypatch.setenv(WEBHOOK_VARIABLE, receiver.url)
        monkeypatch.setenv(WEBHOOK_PRIVATE_VARIABLE, "1")
        monkeypatch.setenv(WEBHOOK_LEVEL_VARIABLE, "error")
        model = loops.net()
        with loops.process(home), pytest.raises(ValueError, match="odd"):
            with branchtrack.start("tiny", model=model, optimizer=loops.sgd(model)):
                raise ValueError("odd")
        (payload,) = receiver.payloads
    assert payload["kind"] == "crash" and "ValueError: odd" in payload["text"]
    (alert,) = raised(home)
    assert alert.delivered_at is not None


SCRIPT = """
    import time, torch, branchtrack
    model = torch.nn.Linear(2, 1)
    run = branchtrack.start("tiny", model=model, optimizer=torch.optim.SGD(model.parameters(), 0.1))
    while not run.step():
        time.sleep(0.01)
"""


def test_a_process_that_is_killed_is_noticed_by_whoever_looks(home: Home) -> None:
    environment = {**os.environ, **home.config.environment(), "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", textwrap.dedent(SCRIPT)]
    with subprocess.Popen(words, env=environment, cwd=home.folder) as process:
        deadline = time.monotonic() + 60
        while not (home.runs() and home.nodes("tiny/main")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    found: list[Alert] = []
    while not found and time.monotonic() < deadline:
        found = watch.look(home.database, home.config)
        time.sleep(0.1)
    assert [alert.kind for alert in found] == ["crash"]
    assert watch.look(home.database, home.config) == []
