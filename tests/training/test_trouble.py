"""Whatever happens to the database or the store, training ends with the weights it should."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Trainer

from branchtrack.checkpoints import folder
from branchtrack.training.record import intervals
from tests.matrices import some
from tests.training import tiny
from tests.training.callbacks import At, Do
from tests.training.homes import Home

Work = Callable[..., object]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "POLL_SECONDS", 0.01)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of training does not wait for what stays broken."""
    monkeypatch.setattr(intervals, "END_SECONDS", 0.2)


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The weights that every training here has to end with."""
    trainer = tiny.trainer(Trainer, tmp_path_factory.mktemp("stock"), save_strategy="no")
    trainer.train()
    return tiny.weights(trainer)


def disturbed(
    home: Home, broken: Work, mended: Work | None = None, asks: Sequence[At] = (), **how: Any
) -> Any:
    """Train with something broken before update 5, and mended before update 10 if at all.

    Either comes when no commit is under way, or none that could end.
    """

    def when_settled(work: Work) -> Work:
        def act(**_: Any) -> None:
            trainer._bt_session.recorder.jobs.wait_for(trainer._bt_session.committer.free)
            work()

        return act

    callbacks = [Do("on_step_begin", 4, when_settled(broken)), *asks]
    if mended is not None:
        callbacks.append(Do("on_step_begin", 9, when_settled(mended)))
    trainer = tiny.trainer(tiny.BranchingTrainer, home.folder, callbacks=lambda: callbacks, **how)
    for ask in asks:
        ask.trainer = trainer
    return home.run(trainer)


def told(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    found = [r for r in caplog.records if r.name == "branchtrack" and r.levelno == level]
    return [record.getMessage() for record in found]


def database_files(home: Home) -> list[Path]:
    path = home.config.home / "branchtrack.db"
    return [p for p in (path, Path(f"{path}-wal"), Path(f"{path}-shm")) if p.exists()]


@pytest.mark.usefixtures("hurried")
def test_a_database_removed_for_good_costs_one_warning(
    home: Home, right: dict[str, torch.Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    def remove() -> None:
        for file in database_files(home):
            file.unlink()

    trainer = disturbed(home, remove)
    assert tiny.same(tiny.weights(trainer), right)
    assert len(told(caplog, logging.WARNING)) == 1
    assert "is gone" in told(caplog, logging.WARNING)[0]
    assert any("metric points were not written" in line for line in told(caplog, logging.ERROR))
    assert database_files(home) == []


def test_a_database_that_comes_back_has_everything(
    home: Home, right: dict[str, torch.Tensor], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    away = tmp_path / "away"
    away.mkdir()

    def move(source: Path, target: Path) -> None:
        for file in list(source.glob("branchtrack.db*")):
            file.rename(target / file.name)

    trainer = disturbed(
        home, lambda: move(home.config.home, away), lambda: move(away, home.config.home)
    )
    assert tiny.same(tiny.weights(trainer), right)
    assert len(told(caplog, logging.WARNING)) == 1 and told(caplog, logging.ERROR) == []
    assert list(home.points("loss", home.segment().id)) == list(range(1, 15))
    assert home.final().kind == "final" and home.segment().status == "finished"
    assert home.chain_break() is None


@pytest.mark.usefixtures("hurried")
def test_a_database_turned_to_rubbish_costs_one_warning(
    home: Home, right: dict[str, torch.Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    def overwrite() -> None:
        for file in database_files(home):
            file.write_bytes(b"rubbish " * 4096)

    trainer = disturbed(home, overwrite)
    assert tiny.same(tiny.weights(trainer), right)
    assert len(told(caplog, logging.WARNING)) == 1
    assert told(caplog, logging.ERROR) != []


def test_a_store_replaced_by_a_file_fails_requests_with_the_reason(
    home: Home, right: dict[str, torch.Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    def replace() -> None:
        home.config.store.rename(home.folder / "kept")
        home.config.store.write_text("no folder")

    def restore() -> None:
        home.config.store.unlink()
        (home.folder / "kept").rename(home.config.store)

    during = At(6, lambda: home.ask("checkpoint"))
    after = At(11, lambda: home.ask("checkpoint"))
    trainer = disturbed(home, replace, restore, [during, after], save_steps=3)
    assert tiny.same(tiny.weights(trainer), right)
    failed, done = home.requests()
    assert failed.state == "failed" and str(home.config.store) in (failed.error or "")
    assert (done.state, done.step) == ("done", 12)
    # Of the request that failed there is none; the newest state was written as soon as it could be.
    assert [node.step for node in home.nodes()] == [0, 3, 9, 12, 14]
    parents = [node.parent_id for node in home.nodes()]
    assert parents == [None, *(node.id for node in home.nodes()[:-1])]
    assert len(told(caplog, logging.WARNING)) == 1
    launch = home.resume(home.node(12), save_steps=3)
    assert home.final(launch).state_digest == home.final().state_digest


def test_a_full_disk_fails_the_change_and_later_ones_work(
    home: Home,
    right: dict[str, torch.Tensor],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write, full = folder._write, [False]

    def limited(path: Path, parts: Any) -> None:
        if full[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, parts)

    monkeypatch.setattr(folder, "_write", limited)
    during = At(5, lambda: home.ask("set", values={"lr": 1e-3}))
    evaluated = At(6, lambda: home.ask("evaluate"))
    trainer = disturbed(
        home,
        lambda: full.__setitem__(0, True),
        lambda: full.__setitem__(0, False),
        [during, evaluated],
        save_steps=1,
    )
    assert tiny.same(tiny.weights(trainer), right)
    changed, measured = home.requests()
    assert changed.state == "failed" and "disk is full" in (changed.error or "")
    assert "was applied" in (changed.error or "")
    assert measured.state == "done" and measured.node_id is None
    assert [node.step for node in home.nodes()] == [0, 1, 2, 3, 4, 9, 10, 11, 12, 13, 14]
    assert len(told(caplog, logging.WARNING)) == 1
    assert list((home.config.store / "tmp").iterdir()) == []


@pytest.mark.usefixtures("hurried")
def test_a_disk_full_to_the_end_is_told_at_the_end(
    home: Home, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, parts: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def fill() -> None:
        monkeypatch.setattr(folder, "_write", full)

    disturbed(home, fill)
    assert [node.step for node in home.nodes()] == [0, 2, 4]
    assert len(told(caplog, logging.WARNING)) == 1
    assert any("No space left" in line for line in told(caplog, logging.ERROR))
    (line,) = home.events("trouble")
    assert line.state == "begun" and "No space left" in line.reason
    segment = home.segment()
    assert segment.status == "failed" and segment.saves is not None
    assert "The final state of the training could not be written" in (segment.error or "")
    assert "disk is full" in (segment.error or "")
    assert segment.saves["missed"] == [6, 8, 10, 12, 14] and segment.saves["made"] == 2
    assert [event.step for event in home.events("save")] == [6, 8, 10, 12, 14]
    assert home.events("segment")[-1].reason == segment.error


def test_one_error_of_the_disk_in_the_last_commit_costs_nothing(
    home: Home, right: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    write, failed = folder._write, [0]

    def once(path: Path, parts: Any) -> None:
        if failed == [1]:
            failed[0] += 1
            raise OSError(errno.EIO, "Input/output error")
        write(path, parts)

    monkeypatch.setattr(folder, "_write", once)
    settled = Do("on_step_begin", 13, lambda **_: failed.__setitem__(0, 1))
    trainer = home.train(callbacks=lambda: [settled], save_strategy="no")
    assert failed == [2] and tiny.same(tiny.weights(trainer), right)
    assert (home.final().step, home.final().kind) == (14, "final")
    assert (home.segment().status, home.segment().error) == ("finished", None)


def test_a_database_locked_by_another_for_long_stops_nothing(
    home: Home, right: dict[str, torch.Tensor]
) -> None:
    holder = home.database.engine.raw_connection()
    trained: list[int] = []

    def hold(**_: Any) -> None:
        assert trainer._bt_session.committer.free.wait(60)
        holder.execute("BEGIN IMMEDIATE")

    def count(**_: Any) -> None:
        trained.append(holder.in_transaction)

    def release(**_: Any) -> None:
        holder.execute("ROLLBACK")

    callbacks = [
        Do("on_step_begin", 4, hold),
        Do("on_step_end", None, count),
        Do("on_train_end", None, release),
    ]
    trainer = tiny.trainer(
        tiny.BranchingTrainer, home.folder, callbacks=lambda: callbacks, save_strategy="no"
    )
    home.run(trainer)
    holder.close()
    assert tiny.same(tiny.weights(trainer), right)
    assert list(home.points("loss", home.segment().id)) == list(range(1, 15))
    assert [node.step for node in home.nodes()] == [0, 14] and sum(trained) == 10


@pytest.mark.usefixtures("hurried")
def test_a_whole_home_that_vanishes_stops_nothing(
    home: Home, right: dict[str, torch.Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    trainer = disturbed(home, lambda: shutil.rmtree(home.config.home))
    assert tiny.same(tiny.weights(trainer), right)
    assert len(told(caplog, logging.WARNING)) == 1
    assert not home.config.home.exists()


def broken_disk(monkeypatch: pytest.MonkeyPatch, home: Home, call: str, number: int) -> list[bool]:
    """Whether a call of the system fails on files of the store: false now."""
    is_broken, real = [False], getattr(os, call)

    def failing(*given: Any, **how: Any) -> Any:
        named = isinstance(given[0], (str, Path)) and home.config.store in Path(given[0]).parents
        if is_broken[0] and (named or isinstance(given[0], int)):
            raise OSError(number, os.strerror(number))
        return real(*given, **how)

    monkeypatch.setattr(folder.os, call, failing)
    return is_broken


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The weights of a training in which the learning rate is changed at step 6, undisturbed."""
    home = Home(tmp_path_factory.mktemp("changed"))
    disturbed(home, lambda: None, asks=[At(5, lambda: home.ask("set", values={"lr": 5e-4}))])
    (node,) = [node for node in home.nodes() if node.changes]
    assert node.step == 6 and [c.name for c in node.changes] == ["lr"]
    found = home.snapshot(home.final()).tensors
    home.close()
    return {name: t for name, t in found.items() if name.startswith("model/")}


DISKS = [
    ("write", errno.ENOSPC, "disk is full"),
    ("fsync", errno.ENOSPC, "disk is full"),
    ("fsync", errno.EIO, "Check the disk"),
    ("open", errno.EACCES, "permissions"),
    ("replace", errno.EROFS, "permissions"),
]


@pytest.mark.parametrize(("call", "number", "reason"), some(DISKS, DISKS[2], DISKS[4]))
def test_a_disk_that_fails_a_change_costs_its_node_and_the_next_one_lists_it(
    home: Home,
    changed: dict[str, torch.Tensor],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    number: int,
    reason: str,
) -> None:
    is_broken = broken_disk(monkeypatch, home, call, number)
    asked = At(5, lambda: home.ask("set", values={"lr": 5e-4}))
    disturbed(
        home,
        lambda: is_broken.__setitem__(0, True),
        lambda: is_broken.__setitem__(0, False),
        [asked],
        save_steps=3,
    )
    found = home.snapshot(home.final()).tensors
    assert all(torch.equal(found[name], tensor) for name, tensor in changed.items())
    (request,) = home.requests()
    assert request.state == "failed" and reason in (request.error or "")
    assert [node.step for node in home.nodes()] == [0, 3, 9, 12, 14]
    (listed,) = home.node(9).changes
    assert (listed.name, listed.before, listed.after) == ("lr", 1e-3, 5e-4)
    assert "lr was changed at step 6" in home.node(9).message
    assert home.node(12).changes == () and len(told(caplog, logging.WARNING)) == 1
    lines = [(event.state, event.step) for event in home.events("trouble")]
    assert [state for state, _ in lines] == ["begun", "over"] and home.chain_break() is None
    assert reason in home.events("trouble")[0].reason
    assert list((home.config.store / "tmp").iterdir()) == []


def test_a_store_that_is_removed_costs_the_nodes_of_before_alone(
    home: Home, right: dict[str, torch.Tensor]
) -> None:
    trainer = disturbed(home, lambda: shutil.rmtree(home.config.store), save_steps=3)
    assert tiny.same(tiny.weights(trainer), right)
    assert [node.step for node in home.nodes()] == [0, 3, 6, 9, 12, 14]
    for step in (6, 9, 12, 14):
        assert home.snapshot(home.node(step)).tensors
    launch = home.resume(home.node(9), save_steps=3)
    assert home.final(launch).state_digest == home.final().state_digest


def test_a_store_that_is_gone_is_told_before_the_next_checkpoint_and_when_it_is_back(
    home: Home,
    right: dict[str, torch.Tensor],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intervals, "HEARTBEAT_SECONDS", 0.01)
    store, away = home.config.store, home.config.home / "away"
    seen: list[bool] = []

    def wait_for(trouble: bool) -> None:
        deadline = time.monotonic() + 60
        while bool(trainer._bt_session.recorder.trouble) != trouble:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        seen.append(trouble)

    def remove(**_: Any) -> None:
        trainer._bt_session.recorder.jobs.wait_for(trainer._bt_session.committer.free)
        store.rename(away)
        wait_for(True)

    def put_back(**_: Any) -> None:
        away.rename(store)
        wait_for(False)

    callbacks = [Do("on_step_begin", 4, remove), Do("on_step_begin", 5, put_back)]
    trainer = tiny.trainer(
        tiny.BranchingTrainer, home.folder, callbacks=lambda: callbacks, save_steps=12
    )
    home.run(trainer)
    assert seen == [True, False]
    assert tiny.same(tiny.weights(trainer), right)
    (line,) = told(caplog, logging.WARNING)
    assert "moved, deleted or replaced" in line
    assert [event.state for event in home.events("trouble")] == ["begun", "over"]
