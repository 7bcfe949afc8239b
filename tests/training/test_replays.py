"""A recorded sequence of changes, made again: on the same seed the bits of the recorded run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from branchtrack import control
from branchtrack.analysis import interventions
from branchtrack.control.replays import files
from branchtrack.core.replays import recording as recordings
from branchtrack.environment_variables import REPLAY_VARIABLE
from tests.training import loops
from tests.training.homes import Home
from tests.training.test_controlling import ask
from tests.training.test_controlling import train as train_asked

STEPS = {"max_steps": loops.STEPS, "save_steps": 1000}


def recolour(shade: float = 1.0) -> None:
    """An action of the script."""


CHANGES = {
    2: [ask("set", values={"lr": "x0.5", "momentum": 0.8})],
    4: [ask("freeze", modules="0"), ask("set", values={"lr": 0.03}), ask("reset", modules="4")],
    6: [ask("unfreeze", modules="0"), ask("act", action="recolour", arguments={"shade": 0.5})],
}
ACTIONS = {"actions": {"recolour": recolour}}


def exported(home: Home, folder: Path, branch: str = "tiny/main", by: str = "step") -> Path:
    """Write the changes of a branch into a file."""
    with home.database.read() as connection:
        recording = interventions.recording_of(connection, home.branch(branch), by=by)
    path = folder / f"{by}.jsonl"
    path.write_text(recordings.to_text(recording))
    return path


def replay(path: Path, train: Callable[[], Any]) -> Any:
    """Train as a process that was started with a recording."""
    with mock.patch.dict(os.environ, {REPLAY_VARIABLE: str(path)}):
        return train()


def digests(home: Home, branch: str) -> dict[int, str]:
    return {node.step: node.state_digest for node in home.nodes(branch)}


@pytest.fixture
def recorded(home: Home, tmp_path: Path) -> tuple[Home, Path]:
    """A home whose ``tiny/main`` was changed several times, and the recording of it."""
    states = [request.state for request in train_asked(home, CHANGES, **ACTIONS)]
    assert states == ["verified", "verified", "verified", "done", "verified", "done"]
    return home, exported(home, tmp_path)


def test_a_replay_on_the_same_seed_gives_the_bits_of_the_recorded_run(
    recorded: tuple[Home, Path],
) -> None:
    home, path = recorded
    replay(path, lambda: loops.train(home, **STEPS, **ACTIONS))
    again = home.requests("tiny-2")
    assert [row.step for row in again] == [2, 4, 4, 4, 6, 6]
    assert [row.state for row in again] == [row.state for row in home.requests()]
    assert again[0].requested["values"]["lr"] == "x0.5" and again[0].applied["lr"] == 0.05
    assert again[0].reason == "why (replayed from tiny/main)"
    assert digests(home, "tiny-2/main") == digests(home, "tiny/main")
    assert home.chain_break("tiny-2") is None
    assert exported(home, path.parent, "tiny-2/main", "fraction").read_text().count("\n") == 7


def test_a_replay_onto_the_root_gives_the_bits_of_the_recorded_run(
    recorded: tuple[Home, Path],
) -> None:
    home, path = recorded
    root = home.nodes()[0]
    launch, sent = control.launch_replay(
        home.database, home.store, root.id, files.read(path), actor="ann", name="again"
    )
    assert [row.request.state for row in sent.sent if row.request] == ["accepted"] * 6
    loops.train(home, launch, **STEPS, **ACTIONS)
    assert home.final(launch).state_digest == home.final().state_digest
    states = [row.state for row in home.requests() if row.branch_id == launch.branch_id]
    assert states == ["verified", "verified", "verified", "done", "verified", "done"]
