"""A training waits for the look of its agent, and not for one that has ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from branchtrack import control
from branchtrack.core.actors import Actor
from branchtrack.db import runs, segments
from branchtrack.db.engine import Database
from branchtrack.db.watching import agents
from branchtrack.errors import BranchtrackError
from branchtrack.examples.studies.tasks import loop, pace
from tests.examples.studies import small

#: What an agent remembers, from the update and the time of its look.
Memory = Callable[[int, float], dict[str, Any]]


def looks(step: int, began: float) -> dict[str, Any]:
    return {"looked": {"branch": "main", "step": step, "began": began}}


def watched(database: Database, memory: Memory, steps: list[int], state: str = "running") -> None:
    """Be the agent of a run until that has ended."""
    agent = None
    while True:
        time.sleep(0.01)
        try:
            with database.read() as connection:
                run = runs.find_run(connection, "small")
                (segment,) = segments.list_of_run(connection, run.id)
            if segment.ended_at is not None:
                return
            seen = memory(segment.step, time.time())
            with database.transaction() as connection:
                if agent is None:
                    facts = {"policy": "guard", "mode": "act", "branch": "main", "options": {}}
                    actor = Actor("ann")
                    agent = agents.add(
                        connection, run.id, "watcher", actor=actor, budget={}, **facts
                    )
                    if state != "running":
                        agents.move(connection, agent.id, state, actor=actor.label)
                agents.beat(connection, agent.id, memory=seen)
                steps.append(segment.step)
        except BranchtrackError:
            # There is no run yet.
            continue


def trained(database: Database, memory: Memory, **more: Any) -> list[int]:
    """The updates at which the agent of a training looked."""
    steps: list[int] = []
    agent = threading.Thread(target=watched, args=(database, memory, steps), kwargs=more)
    agent.start()
    try:
        loop.train(small.task(), small.chosen("--agent", "watcher"))
    finally:
        agent.join(60)
    return steps


def test_every_evaluation_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = small.home(monkeypatch, tmp_path)
    assert {2, 4} <= set(trained(database, looks))
    database.close()


def test_an_agent_that_waits_for_what_it_asked_for_has_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = small.home(monkeypatch, tmp_path)

    def asks(step: int, _began: float) -> dict[str, Any]:
        # From then on it looks no more, as its request waits for the training.
        if step in (2, 4):
            wanted = {"kind": "checkpoint", "message": f"seen {step}"}
            control.submit(database, "small", wanted, actor="ann", key=str(step))
        return looks(step, 0.0)

    assert {2, 4} <= set(trained(database, asks))
    database.close()


def test_an_agent_that_has_ended_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = small.home(monkeypatch, tmp_path)
    assert trained(database, lambda _step, _began: {}, state="exhausted")
    database.close()


def test_a_look_that_began_before_the_evaluation_was_written_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = small.home(monkeypatch, tmp_path)
    monkeypatch.setattr(pace, "_PATIENCE", 1.0)
    with pytest.raises(SystemExit, match="has not looked at update 2"):
        trained(database, lambda step, _began: looks(step, 0.0))
    database.close()


def test_a_branch_that_ends_by_itself_waits_for_nobody_and_uses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = small.home(monkeypatch, tmp_path)
    monkeypatch.setattr(loop, "ends_by_itself", lambda: True)
    # The run has used all of its updates before.
    monkeypatch.setattr("branchtrack.db.segments.trained_steps", lambda *_: 6)
    loop.train(small.task(), small.chosen("--agent", "watcher"))
    with database.read() as connection:
        run = runs.find_run(connection, "small")
        (segment,) = segments.list_of_run(connection, run.id)
    assert (segment.step, segment.status) == (6, "finished")
    database.close()


def test_a_process_of_its_own_run_keeps_to_its_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = small.home(monkeypatch, tmp_path)
    ends: list[bool] = []
    whole = loop._pace
    monkeypatch.setattr(
        loop, "_pace", lambda *given: ends.append(pace.ends_by_itself()) or whole(*given)
    )
    loop.train(small.task(), small.chosen())
    assert ends == [False]
    database.close()
