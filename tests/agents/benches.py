"""A run with an agent and what carries out its decisions, without any training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from branchtrack.agents.execution import Executor, Outcome
from branchtrack.agents.hiring import hire
from branchtrack.agents.observer import observe
from branchtrack.agents.runner import Runner
from branchtrack.checkpoints.packs import Store
from branchtrack.core.agents.decisions import Decision
from branchtrack.core.agents.records import Agent
from branchtrack.core.agents.views import View
from branchtrack.core.records import Branch, Request
from branchtrack.db import requests, runs
from branchtrack.db.engine import Database
from branchtrack.db.watching import agents
from tests.trees_for_tests import Tree


def executor(database: Database, store: Store) -> Executor:
    """What carries out decisions in the test's home."""
    return Executor(database, store, store.home)


def hired(database: Database, ref: str = "demo", **facts: Any) -> Agent:
    """An agent of this process that acts, unless told otherwise."""
    return hire(
        database, ref, **{"policy": "guard", "options": {}, "mode": "act", "actor": "ann", **facts}
    )


def look(database: Database, ref: str = "demo") -> View:
    """What an agent sees of a branch now."""
    with database.read() as connection:
        return observe(connection, runs.find_branch(connection, ref))


def requests_of(tree: Tree) -> list[Request]:
    """The requests of a run, the oldest first."""
    with tree.database.read() as connection:
        return requests.list_of_run(connection, tree.run.id)[::-1]


def again(database: Database, agent: Agent) -> Agent:
    """An agent as it is in the record."""
    with database.read() as connection:
        return agents.get(connection, agent.id)


class Deciding:
    """A controller that decides what it was made with, one list a look."""

    def __init__(self, *lists: Sequence[Decision], every_branch: bool = False) -> None:
        self.every_branch, self.metrics = every_branch, ("loss",)
        self.lists = list(lists)
        self.outcomes: list[list[Outcome]] = []

    def take(self, agent: Agent) -> None:
        """Do nothing."""

    def decide(self, view: View, memory: dict[str, Any]) -> list[Decision]:
        """The next of the lists."""
        memory["looks"] = memory.get("looks", 0) + 1
        return list(self.lists.pop(0)) if self.lists else []

    def settle(self, agent: Agent, branch: Branch, view: View, outcomes: list[Outcome]) -> None:
        """Remember what came of them."""
        self.outcomes.append(outcomes)


def runner(
    database: Database, store: Store, agent: Agent, controller: Any, lines: list[str]
) -> Runner:
    """A runner whose rounds a test makes itself."""
    return Runner(executor(database, store), agent, controller, lines.append)
