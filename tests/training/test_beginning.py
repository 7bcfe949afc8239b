"""Training begins whatever its home and database do, and is recorded as soon as it can be."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any

import pytest
import torch
from transformers import Trainer

import branchtrack
from branchtrack.db import engine, runs, schema
from branchtrack.db.engine import Database
from branchtrack.environment_variables import DATABASE_VARIABLE, REQUIRE_VARIABLE
from branchtrack.errors import BranchtrackError, InvalidInput, StorageError
from branchtrack.training.record import intervals
from tests.matrices import some
from tests.training import loops, tiny
from tests.training.callbacks import Do
from tests.training.homes import Home

Mend = Callable[[], None]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """What is broken is not waited for; undone by a test where it has been mended."""
    with monkeypatch.context() as patch:
        patch.setattr(intervals, "POLL_SECONDS", 0.01)
        patch.setattr(intervals, "PATIENCE_SECONDS", 0.3)
        patch.setattr(intervals, "END_SECONDS", 0.5)
        patch.setattr(engine, "BUSY_TIMEOUT", 1.0)
        yield patch


def taken_by_a_file(home: Home, _: pytest.MonkeyPatch) -> Mend:
    """There is a file where the home is to be."""
    home.close()
    shutil.rmtree(home.config.home)
    home.config.home.write_text("in the way")
    return home.config.home.unlink


def locked(home: Home, _: pytest.MonkeyPatch) -> Mend:
    """Another process holds the database."""
    holder = sqlite3.connect(home.config.home / "branchtrack.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")

    def mend() -> None:
        holder.execute("ROLLBACK")
        holder.close()

    return mend


def rubbish(home: Home, _: pytest.MonkeyPatch) -> Mend:
    """What is there is no database."""
    path = home.config.home / "branchtrack.db"
    home.close()
    for file in path.parent.glob("branchtrack.db*"):
        file.unlink()
    path.write_bytes(b"rubbish " * 4096)
    # Deleted, its inode might be that of the new file.

    def mend() -> None:
        path.rename(path.with_suffix(".rubbish"))

    return mend


def another_version(home: Home, _: pytest.MonkeyPatch) -> Mend:
    """The database is one of a later version."""
    path = home.config.home / "branchtrack.db"

    def write(revision: str) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))

    write("9999")
    return lambda: write(schema.HEAD)


def full(home: Home, monkeypatch: pytest.MonkeyPatch) -> Mend:
    """A new run cannot be written."""
    create, broken = runs.create_run, [True]

    def failing(*given: Any, **how: Any) -> Any:
        if broken[0]:
            raise StorageError("The database failed: database or disk is full.")
        return create(*given, **how)

    monkeypatch.setattr(runs, "create_run", failing)
    return lambda: broken.__setitem__(0, False)


FAULTS = [taken_by_a_file, locked, rubbish, another_version, full]


def names(faults: Iterable[Any]) -> list[str]:
    return [fault.__name__ for fault in faults]


@pytest.fixture(params=names(FAULTS))
def mend(
    request: pytest.FixtureRequest,
    home: Home,
    monkeypatch: pytest.MonkeyPatch,
    impatient: pytest.MonkeyPatch,
) -> Iterator[Mend]:
    """Mends what is wrong with the home; called after the test where it was not in it."""
    fault = next(fault for fault in FAULTS if fault.__name__ == request.param)
    work, called = fault(home, monkeypatch), []

    def once() -> None:
        if not called:
            called.append(1)
            work()
            impatient.undo()

    yield once
    once()


def told(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    found = [r for r in caplog.records if r.name == "branchtrack" and r.levelno == level]
    return [record.getMessage() for record in found]


@pytest.mark.parametrize("mend", some(names(FAULTS), "locked", "rubbish"), indirect=True)
def test_training_begins_and_is_recorded_once_that_can_be(
    mend: Mend, home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    def mended(**_: Any) -> None:
        mend()
        assert trainer._bt_session.recorder.created.wait(60)
        assert trainer._bt_session.committer.free.wait(60)

    trainer = tiny.trainer(
        tiny.BranchingTrainer,
        home.folder,
        save_steps=4,
        callbacks=lambda: [Do("on_step_begin", 9, mended)],
    )
    home.run(trainer)
    (warning,) = told(caplog, logging.WARNING)
    assert "cannot record" in warning and "Training continues" in warning
    assert told(caplog, logging.ERROR) == []
    found = Home(home.folder)
    assert list(found.points("loss", found.segment().id)) == list(range(1, 15))
    assert [(n.step, n.kind) for n in found.nodes()][0] == (0, "root")
    assert [n.step for n in found.nodes()] == [0, 10, 12, 14], "what was due at 8 came at 10"
    assert found.segment().saves == {"due": 4, "made": 3, "missed": [4]}
    assert found.segment().status == "finished" and found.chain_break() is None
    launch = found.resume(found.node(12), save_steps=4)
    assert found.final(launch).state_digest == found.final().state_digest
    found.close()


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The weights that a training ends with which nothing is recorded of."""
    trainer = tiny.trainer(
        Trainer, tmp_path_factory.mktemp("stock"), save_strategy="no", max_steps=8
    )
    trainer.train()
    return tiny.weights(trainer)


def test_what_can_never_be_recorded_is_said_at_the_end_and_costs_no_training(
    mend: Mend, home: Home, caplog: pytest.LogCaptureFixture, right: dict[str, torch.Tensor]
) -> None:
    del mend
    trainer = home.train(save_steps=4, max_steps=8)
    assert tiny.same(tiny.weights(trainer), right)
    assert len(told(caplog, logging.WARNING)) == 1
    lines = told(caplog, logging.ERROR)
    assert "the run itself was never recorded" in lines[0]
    assert any("metric points were not written" in line for line in lines)


def test_with_the_record_required_nothing_is_trained(
    mend: Mend, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    del mend
    monkeypatch.setenv(REQUIRE_VARIABLE, "1")
    steps: list[int] = []
    count = Do("on_step_begin", None, lambda **_: steps.append(1))
    with pytest.raises(BranchtrackError):
        home.train(callbacks=lambda: [count])
    assert steps == []


def test_a_plain_loop_begins_as_well(mend: Mend, home: Home) -> None:
    def at(run: Any, _: Any) -> None:
        if run.step_number == 3:
            mend()
            assert run._session.recorder.created.wait(60)

    loops.train(home, at=at, save_steps=4)
    found = Home(home.folder)
    assert found.nodes()[0].kind == "root" and found.nodes()[-1].kind == "final"
    assert list(found.points("loss", found.segment().id)) == list(range(1, 10))
    found.close()


def test_a_resume_needs_its_node(home: Home) -> None:
    home.train(save_steps=2, max_steps=4)
    launch = home.order(home.node(2))
    path = home.config.home / "branchtrack.db"
    path.rename(path.with_name("elsewhere.db"))
    with pytest.raises(BranchtrackError):
        home.train(launch, save_steps=2, max_steps=4)


def test_bad_input_is_refused_all_the_same(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    model = loops.net()
    with loops.process(home), pytest.raises(InvalidInput, match="save_steps"):
        branchtrack.start("x", model=model, optimizer=loops.sgd(model), save_steps=-1)
    monkeypatch.setenv(DATABASE_VARIABLE, "nonsense")
    with pytest.raises(BranchtrackError, match="URL"):
        branchtrack.start("x", model=model, optimizer=loops.sgd(model))
    assert home.runs() == []


@pytest.mark.usefixtures("impatient")
def test_a_database_that_fails_to_the_end_is_raised_where_the_record_is_required(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(REQUIRE_VARIABLE, "1")

    def remove(**_: Any) -> None:
        Database.close(trainer._bt_session._database)
        for file in home.config.home.glob("branchtrack.db*"):
            file.unlink()

    trainer = tiny.trainer(
        tiny.BranchingTrainer, home.folder, callbacks=lambda: [Do("on_step_begin", 9, remove)]
    )
    with pytest.raises(StorageError, match="Not everything could be recorded"):
        home.run(trainer)
    assert trainer.state.global_step == 14, "training itself went on to its end"
