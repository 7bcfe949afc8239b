"""A loop that is passed over has its final state, and is over before it begins."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from branchtrack.checkpoints.packs import Store
from branchtrack.db.engine import Database
from branchtrack.errors import CheckpointMismatch, LaunchFailed
from branchtrack.training.loop import beginning, passed_over, resumption
from branchtrack.training.session.unrecorded.passed_over import PassedOver
from branchtrack.training.settings.live import Live
from branchtrack.training.state import snapshots


@pytest.fixture
def live() -> Live:
    """The objects of a script."""
    model = torch.nn.Linear(2, 1)
    return Live(model, torch.optim.SGD(model.parameters(), 0.1), None, SimpleNamespace(), [True])


def session(database: Database, store: Store, base: Any = None) -> PassedOver:
    return PassedOver(database, store, base, "fold 1")


def base(step: int) -> Any:
    fork = SimpleNamespace(step=step, settings={"max_steps": step, "save_steps": 2})
    return SimpleNamespace(fork=fork, snapshot=None, script=None)


def test_a_training_that_is_left_untrained_ends_at_once(
    live: Live, sqlite_database: Database, store: Store
) -> None:
    begun = passed_over.begin(live, session(sqlite_database, store), [1, 2], {}, {})
    assert begun.limits.is_over and begun.now is None
    assert begun.batches is not None and live.loop is begun.limits


def test_a_finished_training_has_its_state_again_however_often_the_loop_steps(
    live: Live, sqlite_database: Database, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    restored: list[str] = []
    monkeypatch.setattr(resumption, "restore", lambda *_: restored.append("objects"))
    monkeypatch.setattr(snapshots, "restore_config", lambda *_: restored.append("config"))
    monkeypatch.setattr(beginning, "restore_state", lambda *_: {"torch": 1})
    passed = session(sqlite_database, store, base(9))
    begun = passed_over.begin(live, passed, None, {}, {})
    assert begun.limits.is_over and begun.now == {"torch": 1}
    point: Any = None
    passed.control_point(point, save=False, final=False)
    assert restored == ["objects", "config"] * 2


def test_a_state_that_does_not_fit_the_script_is_refused(
    live: Live, sqlite_database: Database, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise CheckpointMismatch("It has other weights.", field="", expected=1, found=2)

    monkeypatch.setattr(resumption, "restore", refuse)
    with pytest.raises(LaunchFailed, match="fold 1 is finished.*It has other weights"):
        passed_over.begin(live, session(sqlite_database, store, base(9)), None, {}, {})
