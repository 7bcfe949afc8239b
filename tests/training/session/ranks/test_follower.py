"""Real trainings by two processes: asked, and what becomes of them if one misbehaves."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from branchtrack import control
from branchtrack.core import lifecycle
from branchtrack.core.records import Request
from branchtrack.errors import NotFound
from tests.training import several
from tests.training.homes import Home

MAIN = "ranked/main"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A home in which two processes train."""
    made = Home(tmp_path)
    yield made
    made.close()


@contextmanager
def training(home: Home, kind: str, case: str) -> Iterator[subprocess.Popen[str]]:
    """Within the block two processes train, from their first node on."""
    process = several.started(
        "-m", "tests.training.ranked_scripts", "live", kind, case, str(home.folder)
    )
    try:
        until(lambda: home.nodes(MAIN), process)
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def until(condition: Callable[[], Any], process: subprocess.Popen[str] | None = None) -> Any:
    """Wait for a condition, and return what it is then."""
    deadline = time.monotonic() + several.LIMIT
    while True:
        try:
            if value := condition():
                return value
        except NotFound:
            # The run is not there yet.
            pass
        assert process is None or process.poll() is None, process.communicate()[0][-4000:]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def answered(home: Home, kind: str, **payload: Any) -> Request:
    """Ask the training for something, and return the request in its last state."""
    asked = home.ask(kind, MAIN, **payload)
    return until(lambda: _ended(home.request(asked.id)))


def _ended(request: Request) -> Request | None:
    ends = ("verified", "ineffective", "done", "failed", "rejected", "expired", "cancelled")
    return request if request.state in ends else None


def ranks_of(process: subprocess.Popen[str]) -> dict[int, int]:
    """Return the pids of the ranks."""
    pids = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        rank = [v for v in variables if v.startswith(b"RANK=")]
        if rank and parent == process.pid:
            pids[int(rank[0][5:])] = int(folder.name)
    return pids


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_two_processes_are_one_run_that_is_steered_as_one(home: Home, kind: str) -> None:
    with training(home, kind, "obeys") as process:
        changed = answered(home, "set", values={"lr": 0.01})
        assert (changed.state, changed.applied) == ("verified", {"lr": 0.01})
        refused = answered(home, "act", action="count")
        assert refused.state == "failed"
        assert refused.error is not None and refused.error.startswith("Rank 1: ZeroDivision")
        paused = answered(home, "pause")
        assert paused.state == "done"
        held = home.segment(MAIN).step
        while_held = home.ask("set", MAIN, values={"lr": 0.02})
        until(lambda: home.request(while_held.id).state == "applied")
        assert home.segment(MAIN).step == held
        assert answered(home, "unpause").state == "done"
        until(lambda: home.request(while_held.id).state == "verified")
        assert answered(home, "checkpoint").state == "done"
        assert answered(home, "stop").state == "done"
        several.output(process)
        assert process.returncode == 0
    assert [run.name for run in home.runs()] == ["ranked"]
    segment = home.segment(MAIN)
    assert segment.status == "stopped"
    curves = [home.points(f"own_loss/rank{rank}", segment.id) for rank in range(2)]
    assert curves[0].keys() == curves[1].keys() == home.points("loss", segment.id).keys()
    assert curves[0] != curves[1]
    assert home.chain_break("ranked") is None
    for node in home.nodes(MAIN):
        control.verify_node(home.database, home.store, node)


def test_a_change_that_one_rank_does_not_use_is_ineffective_and_the_rank_is_named(
    home: Home,
) -> None:
    with training(home, "ddp", "resets"):
        changed = answered(home, "set", values={"lr": 0.01})
    assert changed.state == "ineffective"
    assert changed.error is not None and changed.error.startswith("Rank 1: lr was to be 0.01")


@pytest.mark.parametrize(
    ("case", "why"),
    [
        ("raises", "the data of rank 1 is broken"),
        ("leaves", "Rank 1"),
        ("ends", "Rank 1: it waits at step 5, where rank 0, now at step 5, does not stop"),
    ],
)
def test_an_end_of_one_rank_ends_all_and_is_said(home: Home, case: str, why: str) -> None:
    with training(home, "ddp", case) as process:
        several.output(process)
        assert process.returncode != 0
    segment = home.segment(MAIN)
    assert segment.status == "failed"
    assert segment.error is not None and why in segment.error
    for node in home.nodes(MAIN):
        control.verify_node(home.database, home.store, node)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_is_killed_leaves_a_branch_that_can_go_on(home: Home, rank: int) -> None:
    with training(home, "fsdp", "obeys") as process:
        until(lambda: len(home.nodes(MAIN)) > 2, process)
        os.kill(ranks_of(process)[rank], signal.SIGKILL)
        killed_at = time.monotonic()
        live = lifecycle.LIVE
        until(lambda: lifecycle.segment_status(home.segment(MAIN), time.time()) not in live)
        # The bound is the heartbeat's, not this machine's speed.
        assert time.monotonic() - killed_at < several.LIMIT
    newest = max(home.nodes(MAIN), key=lambda node: node.seq)
    assert control.verify_node(home.database, home.store, newest).digest == newest.state_digest
    assert home.chain_break("ranked") is None


@pytest.mark.exhaustive
def test_a_loop_that_rank_0_alone_ends_has_failed_and_keeps_its_nodes(home: Home) -> None:
    with training(home, "ddp", "stays") as process:
        several.output(process)
        assert process.returncode != 0
    segment = home.segment(MAIN)
    assert segment.status == "failed"
    assert segment.error is not None and "final state of the training could not" in segment.error
    assert max(node.step for node in home.nodes(MAIN)) == 5


@pytest.mark.exhaustive
def test_an_evaluation_that_fails_on_one_rank_ends_all_and_is_said(home: Home) -> None:
    with training(home, "ddp", "breaks") as process:
        home.ask("evaluate", MAIN)
        several.output(process)
    segment = home.segment(MAIN)
    assert segment.status == "failed"
    assert segment.error is not None and "rank 1 has nothing to evaluate" in segment.error
    assert {request.state for request in home.requests("ranked")} <= {"expired", "failed"}


def test_a_rank_that_requests_something_else_is_refused_before_any_record(home: Home) -> None:
    process = several.started(
        "-m", "tests.training.ranked_scripts", "live", "ddp", "differs", str(home.folder)
    )
    text = several.output(process)
    assert process.returncode != 0
    assert "Rank 1 begins with settings.own 1.0, and rank 0 with 0.0" in text
    assert home.runs() == []


def test_what_replication_cannot_follow_is_refused_and_training_goes_on(home: Home) -> None:
    with training(home, "ddp", "obeys"):
        refused = answered(home, "freeze", modules="first")
        assert refused.state == "failed"
        assert refused.error is not None and "find_unused_parameters=True" in refused.error
        assert answered(home, "set", values={"lr": 0.01}).state == "verified"


def test_a_stop_while_one_rank_evaluates_waits_for_it(home: Home) -> None:
    with training(home, "ddp", "measures") as process:
        assert answered(home, "stop").state == "done"
        several.output(process)
        assert process.returncode == 0
    assert home.segment(MAIN).status == "stopped"


def test_a_signal_to_one_rank_ends_all_with_a_node(home: Home) -> None:
    with training(home, "ddp", "obeys") as process:
        until(lambda: len(home.nodes(MAIN)) > 1, process)
        os.kill(ranks_of(process)[1], signal.SIGUSR1)
        several.output(process)
    segment, newest = home.segment(MAIN), max(home.nodes(MAIN), key=lambda node: node.seq)
    assert segment.status == "stopped"
    assert (newest.kind, newest.message) == ("final", "SIGUSR1 on rank 1")
    assert newest.step == segment.step
