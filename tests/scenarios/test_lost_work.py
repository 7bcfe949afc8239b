"""Situations in which work was lost, or nobody said how to go on, as reported."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.scenarios.shell import Shell

pytestmark = pytest.mark.scenario


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, -signal.SIGINT)]
)
def test_a_signal_makes_a_node_and_says_why(
    shell: Shell, number: signal.Signals, code: int
) -> None:
    shell.copy("sigterm")
    with shell.start("sigterm") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "step 40" in line:
                process.send_signal(number)
                break
        process.stdout.read()
    assert process.returncode in (code, 128 + number)
    (run,) = shell.json("runs")
    assert run["status"] == "stopped"
    last = max(node["step"] for node in shell.json("tree", "job")["nodes"])
    assert last in (40, 41)
    assert f"{number.name} at step" in shell.command("audit", "job")
    shell.resume(shell.node("job", 25), "again")


def killed(shell: Shell, *arguments: str) -> None:
    """Train until a node at step 30 is durable, and kill the process."""
    shell.copy("requeue")
    with shell.start("requeue", *arguments) as process:
        while True:
            time.sleep(0.2)
            runs = shell.command("tree", "deep", "--json", code=None)
            if '"step": 30' in runs:
                break
        process.kill()
    # A process that is gone is noticed by looking.
    shell.json("runs")


def test_the_queue_starts_the_same_command_again(shell: Shell) -> None:
    killed(shell)
    shell.train("requeue", BRANCHTRACK_CONTINUE="1")
    (run,) = shell.json("runs")
    assert run["status"] == "finished" and run["branches"] == 1
    curve = shell.json("curve", "deep", "x")
    assert curve["steps"] == list(range(1, 61)) == [int(value) for value in curve["values"]]
    assert "not trained again" in shell.train("requeue", BRANCHTRACK_CONTINUE="1")


def test_without_asking_one_line_says_how_to_go_on(shell: Shell) -> None:
    killed(shell)
    printed = shell.train("requeue")
    assert "BRANCHTRACK_CONTINUE=deep" in printed and len(shell.json("runs")) == 2
    shell.resume(shell.node("deep", 30), "go-on")
    assert shell.json("curve", "deep/go-on", "x")["steps"] == list(range(1, 61))


def test_the_idiom_of_the_last_checkpoint_goes_on(shell: Shell) -> None:
    for idiom in ("last", "true"):
        shell.train("last_checkpoint_idiom", idiom, code=-signal.SIGKILL, DIE="1")
        shell.train("last_checkpoint_idiom", idiom)
        (run,) = shell.json("runs")
        assert (run["status"], run["branches"]) == ("finished", 1)
        steps = shell.json("curve", "idiom", "loss")["steps"]
        assert steps == list(range(1, 31))
        shutil.rmtree(shell.folder / "home")
        shutil.rmtree(shell.folder / "out")


@pytest.mark.parametrize("script", ["kfold", "kfold_trainer"])
def test_a_later_fold_is_resumed_with_its_own_rows(shell: Shell, script: str) -> None:
    shell.train(script)
    launch = shell.resume(shell.node("fold2", 10), "again")
    assert launch["compared"]["state"] == "equal"
    shell.same("fold2", "main", "again")
    assert len(shell.json("runs")) == 3


@pytest.mark.parametrize(
    ("kind", "run"), [("sweep", "sweep-2"), ("phases", "phase-two"), ("again", "again")]
)
def test_one_of_several_trainings_goes_on_alone(shell: Shell, kind: str, run: str) -> None:
    shell.train("many_runs", kind)
    before = len(shell.json("runs"))
    shell.resume(shell.node(run, 8), "again")
    shell.same(run, "main", "again")
    assert len(shell.json("runs")) == before


def test_a_project_that_was_moved_goes_on(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    (old / "data").mkdir(parents=True)
    rows = "".join(f"{(number * 37 % 101) / 101}\n" for number in range(128))
    (old / "data" / "rows.txt").write_text(rows)
    Shell(old, old / ".branchtrack").train("move_home")
    old.rename(new)
    shell = Shell(new, new / ".branchtrack")
    node = shell.node("mv", 10)
    shell.resume(node, "moved")
    shell.same("mv", "main", "moved")
    shutil.copytree(new / ".branchtrack", tmp_path / "copy")
    new.rename(tmp_path / "away")
    colleague = Shell(tmp_path, tmp_path / "copy")
    assert "has not trusted it" in colleague.command("resume", node, code=2)
    colleague.command("trust", "--yes")
    refused = colleague.command("resume", node, code=1)
    assert "--script PATH --cwd DIR" in refused
    away = str(tmp_path / "away")
    colleague.resume(node, "there", "--script", f"{away}/move_home.py", "--cwd", away)
    colleague.same("mv", "main", "there")


def test_odd_values_are_kept_and_told_apart_or_named(shell: Shell) -> None:
    printed = shell.train("odd_values")
    values = [1.5, "NaN", "Infinity", "-Infinity", 1e308, 5e-324]
    for name in ("train/loss @ k=5 (%)", "<script>alert(1)</script>", "a" * 300):
        assert shell.json("curve", "odd", name)["values"][:6] == values
    for name, value in (("flag", 1.0), ("dec", 0.1), ("nested/a", 1.0)):
        assert shell.json("curve", "odd", name)["values"] == [value] * 8
    for name in ("text", "none", "vec", "big"):
        assert printed.count(f"{name}:") == 1


#: What is edited in the script, and what its refusal says to do.
EDITS = [
    ("epochs=4", ["--set", "max_steps=64", "--set", "horizon=rescale"]),
    ("rows=96", ["--accept", "dataset_length"]),
    ("bs=8", ["--set", "batch_size=8"]),
    ("vocab=70", ["--mode", "weights", "--resize"]),
    ("labels=3", ["--mode", "weights"]),
]


def test_an_edited_script_is_refused_with_a_way_out_that_works(shell: Shell) -> None:
    (shell.folder / "knobs.txt").write_text("rows=64")
    shell.train("changed_script")
    node = shell.node("edit", 20)
    for edit, way in EDITS:
        (shell.folder / "knobs.txt").write_text(edit)
        name = edit.replace("=", "-")
        refused = shell.resume(node, name, code=1)
        assert all(word in refused["error"] for word in way if word != "--resize"), edit
        shell.resume(node, name, *way)
        rates = shell.json("curve", f"edit/{name}", "learning_rate")["values"]
        assert max(rates[20:]) > 0, edit


def test_a_finished_run_is_not_trained_on_at_a_rate_of_nothing(shell: Shell) -> None:
    (shell.folder / "conf").write_text("(2, 64, 40)")
    shell.train("data_grew")
    last = shell.node("grow", 20)
    more = ["--set", "max_steps=30", "--set"]
    refused = shell.command("resume", last, *more, "horizon=extend", code=2)
    assert "rescale" in refused
    (shell.folder / "conf").write_text("(3, 64, 40)")
    shell.resume(last, "more", *more, "horizon=rescale")
    rates = shell.json("curve", "grow/more", "learning_rate")["values"]
    assert len(rates) == 30 and rates[20] > 0
    assert "nothing is left" in shell.command("resume", last, code=2)


def test_an_export_is_what_a_stock_trainer_resumes(shell: Shell) -> None:
    printed = shell.train("read_only_export")
    (shell.folder / "log").write_text(printed)
    shell.command("export", shell.node("exp", 8), "exported")
    assert "PASS" in shell.train("stock_resume", "exported")


def test_a_home_that_cannot_be_written_can_be_read(shell: Shell) -> None:
    shell.train("infinite_own_setting")
    node, home = shell.node("infs", 6), shell.folder / "home"
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    paths = [home, *home.rglob("*")]
    modes = [path.stat().st_mode for path in paths]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        words = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
        prefix = words if os.geteuid() == 0 and shutil.which("setpriv") else []
        for command in (["runs"], ["tree", "infs"], ["verify", "--all"], ["show", node]):
            assert shell.command(*command, prefix=prefix)
        refused = shell.command("resume", node, code=2, prefix=prefix)
        assert "read" in refused
    finally:
        for path, mode in zip(paths, modes, strict=True):
            path.chmod(mode)
    after = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert after == before
