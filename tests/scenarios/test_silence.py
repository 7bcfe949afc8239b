"""Situations in which a resume trained something else and called it verified, as reported.

Each is a whole script in processes of its own; what is right is an equal training, or being told.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

from tests.scenarios.shell import Shell

pytestmark = pytest.mark.scenario

#: Script, run, step to resume from, and the metrics that are to be equal.
EXACT = [
    ("sft_packing", "sft", 5, ("loss", "num_tokens", "mean_token_accuracy", "entropy")),
    ("grpo_midbuffer", "grpo", 5, ("loss", "reward", "learning_rate")),
    ("dpo_sync_ref", "dpo", 5, ("loss", "rewards/margins")),
    ("prodigy_schedulefree", "pro", 9, ("loss", "d")),
    ("infinite_own_setting", "infs", 6, ("loss",)),
]


@pytest.mark.parametrize(("script", "run", "step", "metrics"), EXACT, ids=[c[0] for c in EXACT])
def test_state_that_no_checkpoint_of_others_holds_goes_on(
    shell: Shell, script: str, run: str, step: int, metrics: tuple[str, ...]
) -> None:
    shell.train(script)
    launch = shell.resume(shell.node(run, step), "again")
    assert launch["compared"]["state"] == "equal" and launch["effective"]["verified"] is True
    shell.same(run, "main", "again", *metrics)


def test_a_batch_that_was_fetched_ahead_is_said(shell: Shell) -> None:
    shell.train("nanogpt_muon")
    node = shell.node("nano", 10)
    launch = shell.resume(node, "again")
    assert launch["compared"]["state"] == "differs" and launch["effective"]["verified"] is False
    assert "loss" in launch["compared"]["about"]
    strict = shell.resume(node, "strict", "--strict", code=1)
    assert "differs from the node's own continuation" in strict["error"]


def test_what_follows_train_sees_the_whole_training(shell: Shell) -> None:
    shell.train("log_history")
    shell.resume(shell.node("hist", 12), "again")
    shell.same("hist", "main", "again")
    first, second = map(json.loads, (shell.folder / "out-seen.jsonl").read_text().splitlines())
    assert first == second and len(first["history"]) == 30


def test_early_stopping_goes_on_and_an_ended_run_does_not(shell: Shell) -> None:
    shell.train("early_stop")
    steps = [node["step"] for node in shell.json("tree", "early")["nodes"]]
    for step in (max(steps) - 4, max(steps)):
        shutil.rmtree(shell.folder / "out", ignore_errors=True)
        launch = shell.resume(shell.node("early", step), f"from{step}")
        shell.same("early", "main", f"from{step}", "loss", "eval_loss")
        printed = Path(launch["log"]).read_text().splitlines()
        _, score, folder, _, _, _, after = next(x for x in printed if x.startswith("best")).split()
        assert score == after and f"branches/from{step}/checkpoint-4" in folder


def test_branches_that_train_at_once_load_their_own_best_models(shell: Shell) -> None:
    assert "PASS" in shell.train("shared_output_dir")
    node = shell.node("share", 4)
    launches = [
        shell.json("resume", node, "--name", name, "--set", f"lr={lr}", "--detach")["launch"]
        for name, lr in (("a", "1e-6"), ("b", "0.05"))
    ]
    for launch, name in zip(launches, ("a", "b"), strict=True):
        log = shell.folder / "home" / "logs" / f"{launch}.log"
        while not log.exists() or "best" not in log.read_text():
            time.sleep(0.2)
        assert "PASS" in log.read_text(), name
    shutil.rmtree(shell.folder / "out")
    late = shell.resume(shell.node("share", 20), "late")
    assert "PASS" in Path(late["log"]).read_text()


def test_a_variable_that_is_gone_is_given_back(shell: Shell) -> None:
    shell.train("env_variable", "--lr", "0.01", "--name", "env", MY_SCALE="3")
    node = shell.node("env", 10)
    launch = shell.resume(node, "again")
    assert launch["environment"]["given_back"] == ["MY_SCALE"]
    shell.same("env", "main", "again")
    said = shell.command("resume", node, "--name", "said")
    assert "MY_SCALE=3" in said
    changed = shell.resume(node, "other", "--env", "MY_SCALE=2")
    assert changed["compared"]["state"] == "differs"
    kept = shell.resume(node, "kept", "--keep-env")
    assert kept["environment"]["given_back"] == [] and kept["compared"]["state"] == "differs"


def test_a_loop_of_lightnings_is_told_or_tracked(shell: Shell) -> None:
    assert "has its batches from elsewhere" in shell.train("lightning_hooks")
    refused = shell.resume(shell.node("light", 10), "again", code=1)
    assert "batches were taken from elsewhere" in refused["error"]
    shell.train("lightning_hooks", "tracked")
    shell.resume(shell.node("tracked", 10), "again")
    shell.same("tracked", "main", "again")
