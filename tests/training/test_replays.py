"""A recorded sequence of changes, made again: on the same seed the bits of the recorded run."""

from __future__ import annotations

import json
import os
import time
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
from branchtrack.errors import InvalidInput
from tests.training import loops
from tests.training import test_live_data as live_data
from tests.training.homes import Home
from tests.training.session.test_session import SHORT, asked
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


def test_a_trainer_gives_the_bits_of_the_recorded_run(home: Home, tmp_path: Path) -> None:
    changes: dict[int, Callable[[], Any]] = {
        2: lambda: home.ask("set", values={"lr": "x0.5", "weight_decay": 0.1}),
        4: lambda: home.ask("freeze", modules="*.wte*"),
    }
    asked(home, changes)
    assert [row.state for row in home.requests()] == ["verified", "verified"]
    path = exported(home, tmp_path)
    replay(path, lambda: home.train(**SHORT))
    assert [row.step for row in home.requests("tiny-2")] == [3, 5]
    assert home.final_of("tiny-2").state_digest == home.final().state_digest
    launch, _sent = control.launch_replay(
        home.database, home.store, home.nodes()[0].id, files.read(path), actor="ann"
    )
    home.train(launch, **SHORT)
    assert home.final(launch).state_digest == home.final().state_digest


def written(folder: Path, *rows: dict[str, Any]) -> Path:
    """A recording as somebody writes it."""
    header = {"format": recordings.FORMAT, "version": recordings.VERSION}
    path = folder / "written.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in (header, *rows)))
    return path


SET_LR = {"kind": "set", "values": {"lr": 0.01}}


def test_by_fraction_a_longer_training_is_changed_as_much_later(
    recorded: tuple[Home, Path], tmp_path: Path
) -> None:
    home, _path = recorded
    path = exported(home, tmp_path, by="fraction")
    replay(path, lambda: loops.train(home, **{**STEPS, "max_steps": 18}, **ACTIONS))
    assert [row.step for row in home.requests("tiny-2")] == [4, 8, 8, 8, 12, 12]


def test_a_condition_is_met_by_what_another_seed_logs(home: Home, tmp_path: Path) -> None:
    path = written(tmp_path, {"at": {"once": "step>=3 and loss<100"}, **SET_LR})
    replay(path, lambda: loops.train(home, **{**STEPS, "seed": 9}))
    (request,) = home.requests()
    assert (request.state, request.step, request.conditions) == (
        "verified",
        3,
        {"once": "step>=3 and loss<100"},
    )


def test_changes_are_made_before_the_first_update_in_their_order(
    home: Home, tmp_path: Path
) -> None:
    lower, higher = {"values": {"lr": 0.01}}, {"values": {"lr": 0.02, "momentum": 0.5}}
    rows = [{"at": {"step": 0}, "kind": "set", **fields} for fields in (higher, lower)]
    path = written(tmp_path, *rows)
    replay(path, lambda: loops.train(home, **STEPS))
    first, second = home.requests()
    assert (first.state, second.state) == ("verified", "verified")
    assert (first.step, second.step) == (0, 0)
    root, changed, *_later = home.nodes()
    assert (root.kind, changed.kind, changed.step) == ("root", "intervention", 0)
    assert (changed.settings["lr"], changed.settings["momentum"]) == (0.01, 0.5)
    launch = home.order(changed)
    loops.train(home, launch, **STEPS)
    assert home.final(launch).state_digest == home.final().state_digest
    certificate = home.rehearse(root, home.final(), lambda **_: loops.train(home, **STEPS))
    assert certificate is not None and certificate.exact


def test_a_training_that_is_continued_makes_what_is_left(
    recorded: tuple[Home, Path], tmp_path: Path
) -> None:
    home, path = recorded

    def die(run: Any, _optimizer: Any) -> None:
        if run.step_number == 5:
            raise MemoryError

    with pytest.raises(MemoryError):
        replay(path, lambda: loops.train(home, at=die, **{**STEPS, "save_steps": 1}, **ACTIONS))
    assert home.final_of("tiny-2").step < 6
    how = {**STEPS, "save_steps": 1, "resume": "latest"}
    replay(path, lambda: loops.train(home, **how, **ACTIONS))
    again = home.requests("tiny-2")
    assert [row.step for row in again if row.state in ("verified", "done")] == [2, 4, 4, 4, 6, 6]
    assert home.final_of("tiny-2").state_digest == home.final().state_digest


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"at": {"step": 3}, "kind": "set", "values": {"lr": -1}}, "Line 2: lr"),
        ({"at": {"step": 3}, "kind": "set", "values": {"speed": 1}}, "Line 2: There is no"),
        ({"at": {"step": 3}, "kind": "freeze", "modules": "encoder"}, "Line 2: No module"),
        ({"at": {"step": 99}, "kind": "reset", "modules": "0"}, "Line 2: at_step"),
        ({"at": {"step": 3}, "kind": "set", "values": {"batch_size": 2}}, "Line 2: batch_size"),
    ],
)
def test_a_recording_that_does_not_fit_ends_the_process_before_training(
    row: dict[str, Any],
    words: str,
    home: Home,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = written(tmp_path, row)
    with pytest.raises(SystemExit) as caught:
        replay(path, lambda: loops.train(home, **STEPS))
    assert caught.value.code == 2 and words in capsys.readouterr().err
    assert home.runs() == []


def test_a_recording_that_is_missing_ends_the_process_before_training(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        replay(tmp_path / "none.jsonl", lambda: loops.train(home, **STEPS))
    assert caught.value.code == 2 and "cannot be read" in capsys.readouterr().err


def test_only_the_first_training_of_a_process_makes_the_changes(home: Home, tmp_path: Path) -> None:
    path = written(tmp_path, {"at": {"step": 2}, **SET_LR})
    replay(path, lambda: loops.train_folds(home, 3))
    assert len(home.requests("fold0")) == 1 and home.requests("fold1") == []


def test_what_was_made_on_the_way_to_a_node_is_not_made_again(
    recorded: tuple[Home, Path],
) -> None:
    home, path = recorded
    replay(path, lambda: loops.train(home, **STEPS, **ACTIONS))
    node = next(node for node in home.nodes("tiny-2/main") if node.step == 4)
    recording = files.read(path)
    launch, sent = control.launch_replay(
        home.database, home.store, node.id, recording, actor="ann", skip_passed=True
    )
    assert [change.line for change in sent.done] == [2, 3, 4, 5]
    loops.train(home, launch, **STEPS, **ACTIONS)
    assert home.final(launch).state_digest == home.final().state_digest


def test_a_live_training_is_asked_once_for_a_recording(home: Home, tmp_path: Path) -> None:
    later = [{"at": {"step": step}, **SET_LR} for step in (3, 3, 6)]
    recording = files.read(written(tmp_path, *later))
    seen: list[Any] = []

    def send(_home: Home) -> None:
        for _time in range(2):
            seen.append(control.send_replay(home.database, "tiny/main", recording, actor="ann"))

    train_asked(home, {2: [send, *[lambda _home: None] * 2]})
    ids = [[entry.request.id for entry in sent.sent] for sent in seen]
    assert ids[0] == ids[1] == [row.id for row in home.requests()]
    assert [row.step for row in home.requests()] == [3, 3, 6]


def test_nothing_is_sent_if_one_change_is_refused_or_past(home: Home, tmp_path: Path) -> None:
    past = files.read(
        written(tmp_path, {"at": {"step": 0}, **SET_LR}, {"at": {"step": 5}, **SET_LR})
    )
    bad = [{"at": {"step": 5}, **SET_LR}, {"at": {"step": 6}, "kind": "reset", "modules": "head"}]
    unfit = files.read(written(tmp_path, *bad))
    fields = []

    def send(_home: Home) -> None:
        wait_for_step(home, 1)
        for recording in (past, unfit):
            with pytest.raises(InvalidInput) as caught:
                control.send_replay(home.database, "tiny/main", recording, actor="ann")
            fields.append(caught.value.field)
        assert home.requests() == []
        sent = control.send_replay(home.database, "tiny/main", past, actor="ann", skip_passed=True)
        assert [entry.change.line for entry in sent.sent] == [3]
        assert [change.line for change in sent.passed] == [2]

    train_asked(home, {3: [send]})
    assert fields == ["line 2: at.step", "line 3: modules"]
    assert [row.step for row in home.requests()] == [5]


def wait_for_step(home: Home, step: int) -> None:
    """Wait until the record says that a training has reached a step."""
    deadline = time.monotonic() + 60
    while home.segment().step < step and time.monotonic() < deadline:
        time.sleep(0.01)


def test_changes_of_the_data_are_made_again(home: Home, tmp_path: Path) -> None:
    """Shards come and go at the same steps, by names and paths."""
    training = live_data.Training(home, "loop-0")
    chat = {"chat": str(home.folder / "chat.txt")}
    training.train(change={"add": chat, "weights": {"chat": 2.0}})
    path = exported(home, tmp_path)
    replay(path, training.train)
    (again,) = home.requests("tiny-2")
    assert (again.kind, again.state, again.step) == ("data", "verified", live_data.CHANGED)
    assert home.final_of("tiny-2").state_digest == home.final().state_digest
