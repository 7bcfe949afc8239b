"""Members of a population share the updates, and wait at a comparison until it is decided."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from branchtrack.db import runs, segments
from branchtrack.examples.studies.tasks import loop, members
from tests.examples.studies import small
from tests.examples.studies.tasks.test_pace import watched

WORDS = ("--agent", "watcher", "--interval", "2", "--steps", "6")


def compares(step: int, began: float) -> dict[str, Any]:
    """What an agent remembers that compares the members whenever they are due."""
    memory = {"from": 0, "generation": step // 2}
    return {"controller": memory, "looked": {"branch": "main", "step": step, "began": began}}


def never(step: int, began: float) -> dict[str, Any]:
    return {**compares(step, began), "controller": {"from": 0, "generation": 0}}


def trained(folder: Path, monkeypatch: pytest.MonkeyPatch, memory: Any, count: int) -> int:
    """Train one of some members while an agent looks; return its last update."""
    database = small.home(monkeypatch, folder)
    agent = threading.Thread(target=watched, args=(database, memory, []))
    agent.start()
    try:
        loop.train(small.task(), small.chosen(*WORDS, "--members", str(count)))
    finally:
        agent.join(60)
        with database.read() as connection:
            (segment,) = segments.list_of_run(connection, runs.find_run(connection, "small").id)
        database.close()
    return segment.step


def test_a_member_that_is_compared_trains_its_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An update is left for each of the two comparisons: one that is replaced makes it.
    assert trained(tmp_path, monkeypatch, compares, 1) == 4


@pytest.mark.parametrize(("memory", "count", "update"), [(never, 1, 2), (compares, 2, 0)])
def test_a_member_waits_to_be_compared_and_for_the_others(
    memory: Any, count: int, update: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members, "_PATIENCE", 2.0)
    with pytest.raises(SystemExit, match=f"not compared at update {update}"):
        trained(tmp_path, monkeypatch, memory, count)
