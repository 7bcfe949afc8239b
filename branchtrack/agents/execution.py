"""A decision carried out in an agent's mode: noted, proposed, or asked for in its name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from branchtrack import control
from branchtrack.agents.observer import run_steps
from branchtrack.checkpoints.packs import Store
from branchtrack.control.trials.ordering import create_trial
from branchtrack.control.trials.planning import TrialOrder, plan_trial
from branchtrack.core.actors import Actor
from branchtrack.core.agents import budgets, decisions
from branchtrack.core.agents.decisions import Decision, Fork, Nothing, Rollback, Set, Try
from branchtrack.core.agents.records import Agent
from branchtrack.core.agents.views import View
from branchtrack.core.nonfinite import spelled
from branchtrack.core.plain_values import cleaned
from branchtrack.db import nodes, requests, runs
from branchtrack.db.engine import Database
from branchtrack.db.watching import agents
from branchtrack.errors import Ambiguous, BranchtrackError, InvalidInput, NotFound, StorageError


@dataclass(frozen=True)
class Outcome:
    """What came of a decision: ``kind`` as of an exchange; the request or launch that it made.

    ``branches`` and ``steps`` are what it counts against the budget of its agent.
    """

    kind: str
    what: str
    request_id: str | None = None
    launch_id: str | None = None
    trial_id: str | None = None
    error: str | None = None
    branches: int = 0
    steps: int = 0

    @property
    def intervened(self) -> bool:
        """Whether something was asked for."""
        return self.kind in ("proposed", "acted")


@dataclass(frozen=True)
class Executor:
    """Where decisions are carried out."""

    database: Database
    store: Store
    home: Path

    def carry_out(self, agent: Agent, view: View, decision: Decision, key: str) -> Outcome:
        """Carry out a decision as far as the agent's mode and budget allow.

        ``key`` identifies the decision, so that it is asked for once even after a crash.
        What is refused is recorded where it was refused, and nothing is raised.
        """
        what = decisions.describe(decision)
        if isinstance(decision, Nothing):
            return Outcome("nothing", what)
        size = 0, 0
        try:
            why = self._out_of_reach(agent, decision)
            if not why:
                size = self._size(view, decision)
                why = self._over_budget(agent, view, decision, size)
        except (NotFound, Ambiguous, InvalidInput) as error:
            why = str(error)
        if why:
            return self._note(agent, Outcome("refused", what, error=why), decision)
        if agent.mode == "observe":
            return self._note(agent, Outcome("observed", what), decision)
        try:
            outcome = self._ask(agent, view, decision, key, what)
            return replace(outcome, branches=size[0], steps=size[1])
        except StorageError:
            raise
        except BranchtrackError as error:
            return Outcome("refused", what, error=str(error))

    def _ask(self, agent: Agent, view: View, decision: Decision, key: str, what: str) -> Outcome:
        who, proposes = actor_of(agent), agent.mode == "propose"
        kind = "proposed" if proposes else "acted"
        if isinstance(decision, Try):
            return self._try(agent, decision, what)
        if isinstance(decision, Fork):
            order: dict[str, Any] = {
                "actor": who,
                "settings": decision.settings,
                "name": decision.name,
                "reason": decision.reason,
            }
            if proposes:
                request = control.propose_fork(self.database, self.store, decision.node, **order)
                return Outcome(kind, what, request.id)
            launch = control.create_launch(self.database, self.store, decision.node, **order)
            return Outcome(kind, what, launch_id=launch.id)
        request = control.submit(
            self.database,
            f"{view.run}/{decision.branch or view.branch}",
            decisions.payload(decision),
            actor=who,
            reason=decision.reason,
            when=_conditions(view, decision),
            key=f"{agent.id}:{key}"[:200],
            home=self.home,
            propose=proposes,
        )
        return Outcome(kind, what, request.id)

    def _try(self, agent: Agent, decision: Try, what: str) -> Outcome:
        trial = create_trial(
            self.database,
            self.store,
            _order(decision),
            actor=actor_of(agent),
            reason=decision.reason,
        )
        with self.database.read() as connection:
            # The order of an agent is a request, too.
            (request,) = requests.of_agent(connection, agent.id, 1)
        return Outcome("acted", what, request.id, trial_id=trial.id)

    def _size(self, view: View, decision: Decision) -> tuple[int, int]:
        """Return what a decision counts against the budget; see `size_of`.

        The branches of a trial are many and short, and go together: they count as one, and its
        updates as those that it may train at most.

        Raises:
            NotFound, Ambiguous, InvalidInput: it cannot be tried.
        """
        if not isinstance(decision, Try):
            return size_of(view, decision)
        with self.database.read() as connection:
            return 1, plan_trial(connection, _order(decision)).spec.most_steps

    def _over_budget(
        self, agent: Agent, view: View, decision: Decision, size: tuple[int, int]
    ) -> str:
        budget, spent = budgets.parse(agent.budget), budgets.Spent.read(agent.spent)
        with self.database.read() as connection:
            run = runs.get_run(connection, agent.run_id)
            branch = runs.find_branch(connection, f"{run.name}/{decision.branch or view.branch}")
            updates = run_steps(connection, branch)
        branches, steps = size
        return budgets.over_rate(budget, spent, updates) or budgets.beyond(
            budget, spent, branches=branches, steps=steps
        )

    def _out_of_reach(self, agent: Agent, decision: Decision) -> str:
        """Return why an agent may not begin from a node: it is another run's.

        Nor is a trial proposed: its verdict would come long after what it was to decide.
        """
        if not isinstance(decision, Fork | Rollback | Try):
            return ""
        if isinstance(decision, Try) and agent.mode == "propose":
            return "Trials are ordered in the mode act; in this one, propose the change itself."
        with self.database.read() as connection:
            node = nodes.find(connection, decision.node)
            run = runs.get_run(connection, agent.run_id)
        return "" if node.run_id == run.id else f"{decision.node} is no node of {run.name}."

    def _note(self, agent: Agent, outcome: Outcome, decision: Decision) -> Outcome:
        """Record what an agent decided and nobody was asked for."""
        with self.database.transaction() as connection:
            agents.record_decision(
                connection,
                agent.id,
                actor=actor_of(agent).label,
                payload=cleaned(spelled({"decision": decision.model_dump(), "what": outcome.what})),
                reason=outcome.error or decision.reason,
                outcome=outcome.kind,
            )
        return outcome


def _conditions(view: View, decision: Decision) -> dict[str, Any]:
    """Return that what a decision changes still has the values that its agent saw."""
    if not isinstance(decision, Set) or decision.branch not in (None, view.branch):
        return {}
    seen = {name: view.settings.get(name) for name in decision.values if name in view.declared}
    known = {name: value for name, value in seen.items() if value is not None}
    return {"only_if": known} if known else {}


def _order(decision: Try) -> TrialOrder:
    return TrialOrder(
        [decision.node],
        decision.settings,
        steps=decision.steps,
        repeats=decision.repeats,
        metric=decision.metric,
    )


def actor_of(agent: Agent) -> Actor:
    """Return the actor in whose name an agent asks: ``NAME (policy)`` or ``NAME (llm)``."""
    channel = "llm" if agent.policy == "llm" else "policy"
    return Actor(agent.name, "agent", channel, agent_id=agent.id)


def size_of(view: View, decision: Decision) -> tuple[int, int]:
    """Return how many branches a decision begins, and the updates that they will be trained for.

    A rollback continues a training that takes place anyway.
    """
    if isinstance(decision, Rollback):
        return 1, 0
    if not isinstance(decision, Fork):
        return 0, 0
    start = next((node.step for node in view.nodes if node.id == decision.node), None)
    end = decision.settings.get("max_steps", view.max_steps)
    if start is None or not isinstance(end, int) or isinstance(end, bool):
        return 1, 0
    return 1, max(0, end - start)
