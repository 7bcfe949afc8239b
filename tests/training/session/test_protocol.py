"""Every kind of session has all that a Trainer or a loop uses of one."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.core.exactness import Trial
from branchtrack.db.engine import Database
from branchtrack.training.session.protocol import TrainingSession
from branchtrack.training.session.session import Session
from branchtrack.training.session.unrecorded.passed_over import PassedOver
from branchtrack.training.session.unrecorded.replay import ReplayPlan, ReplaySession


@pytest.fixture(params=[Session, PassedOver, ReplaySession])
def session(
    request: pytest.FixtureRequest, sqlite_database: Database, store: Store
) -> Iterator[TrainingSession]:
    """A session that has not begun, of a training without a node."""
    base: Any = None
    if request.param is ReplaySession:
        target: Any = SimpleNamespace(step=4, id="t")
        stored: Any = None
        base = SimpleNamespace(fork=SimpleNamespace(step=2))
        plan = ReplayPlan(target, stored, frozenset({3}), {})
        trial = Trial(certificate="c", start="s", target="t")
        yield ReplaySession(sqlite_database, store, base, trial, plan)
    elif request.param is PassedOver:
        yield PassedOver(sqlite_database, store, None, "fold1")
    else:
        yield Session(sqlite_database, store, None)


def used_names() -> set[str]:
    """What the protocol declares."""
    declared = {name for name in vars(TrainingSession) if not name.startswith("_")}
    return declared | set(TrainingSession.__annotations__)


def test_a_session_has_all_that_loops_use(session: TrainingSession) -> None:
    kind = type(session)
    missing = {
        name for name in used_names() if not hasattr(kind, name) and name not in vars(session)
    }
    assert missing == set() and len(used_names()) > 25


def test_nothing_is_expected_before_a_session_begins(session: TrainingSession) -> None:
    assert not session.is_begun and not session.is_reading and not session.rewinds
    assert session.expecting is None and session.witness is None


def test_only_a_session_that_is_to_be_passed_over_asks_to_stop(session: TrainingSession) -> None:
    assert session.stop_asked == session.passes_over
    assert session.records == isinstance(session, Session)
