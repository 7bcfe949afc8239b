"""An agent at work: it looks, decides, asks, and waits for what came of it, until it has to end.

All that it must not forget is in its row: after a crash the same agent goes on where it was. The
training never waits for it.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from branchtrack import control, processes
from branchtrack.agents.execution import Executor, Outcome, actor_of
from branchtrack.agents.observer import observe, run_steps
from branchtrack.core import lifecycle
from branchtrack.core.agents import budgets
from branchtrack.core.agents.decisions import Decision, Fork, Rollback
from branchtrack.core.agents.records import Agent
from branchtrack.core.agents.views import View
from branchtrack.core.records import Branch, Request
from branchtrack.db import requests, runs, segments
from branchtrack.db.orders import launches
from branchtrack.db.watching import agents
from branchtrack.errors import BranchtrackError, NotFound, StorageError

#: Seconds between two looks, and for which a branch must have ended before its agent does.
LOOK_SECONDS, GRACE_SECONDS = 1.0, 5.0
#: Updates without a new decision after one that was refused, declined or expired.
QUIET_STEPS = 25


class Controller(Protocol):
    """What decides: a policy, or a language model."""

    every_branch: bool
    metrics: tuple[str, ...]

    def take(self, agent: Agent) -> None:
        """Work for an agent, as its row is now."""

    def decide(self, view: View, memory: dict[str, Any]) -> list[Decision]:
        """Return what is to be done now; ``memory`` is kept until the next call."""

    def settle(self, agent: Agent, branch: Branch, view: View, outcomes: list[Outcome]) -> None:
        """Take note of what came of the last decisions; with none, of the lack of one."""


class Runner:
    """Works for one agent, in one thread; ``say`` gets a line for each thing that happens."""

    def __init__(
        self,
        executor: Executor,
        agent: Agent,
        controller: Controller,
        say: Callable[[str], None],
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self.agent, self._controller, self._say = agent, controller, say
        self._look_seconds = look_seconds
        self._executor, self._database = executor, executor.database
        self._memory: dict[str, Any] = dict(agent.memory)
        self._memory.setdefault("branch", agent.branch)
        self._seen: tuple[Any, ...] = ()
        self._over_since = math.inf
        self._last = ""

    def run(self, stop: threading.Event) -> Agent:
        """Work until ``stop`` is set, the branch has ended, or nothing is left of the budget.

        Returns:
            the agent as it is then.
        """
        state, note = "stopped", "Its process was asked to end."
        is_adopted = False
        while not stop.is_set():
            try:
                is_adopted = is_adopted or self._adopt()
                end = self._work()
            except StorageError as error:
                self._report(f"{error} Trying again.")
                end = None
            except BaseException as error:
                self._end("failed", f"{type(error).__name__}: {error}"[:1000])
                raise
            if end is not None:
                state, note = end
                break
            stop.wait(self._look_seconds)
        return self._end(state, note)

    def _adopt(self) -> bool:
        """Take over what the process before asked for and could not note; return True."""
        with self._database.read() as connection:
            rows = requests.of_agent(connection, self.agent.id)[::-1]
            updates = run_steps(connection, self._branch())
        for row in rows:
            # A hold while a model is asked has no key; an order of a branch cannot have one.
            is_decision = row.key is not None or row.kind == "resume"
            if row.seq > self._memory.get("known", 0) and row.state != "rejected" and is_decision:
                is_branch = row.kind in ("resume", "rewind")
                waits = {"request": row.id, "launch": None, "follow": is_branch}
                self._memory.setdefault("pending", []).append(waits)
                self._memory["known"] = row.seq
                ordered = (row.payload.get("trial") or {}).get("most_steps", 0)
                self._spend(self._spent.intervened(updates, branches=int(is_branch), steps=ordered))
        return True

    def _work(self) -> tuple[str, str] | None:
        """Do one round; return the state and the note with which the agent ends, if it does."""
        began = time.time()
        self._beat()
        if self.agent.stop is not None:
            return "stopped", f"{self.agent.stop} stopped it."
        why = budgets.exhausted(budgets.parse(self.agent.budget), self._spent)
        if why and not self._pending():
            return "exhausted", why
        branch = self._branch()
        with self._database.read() as connection:
            view = observe(connection, branch, self._controller.metrics)
        self.agent = self._updated(step=view.step)
        if self._pending():
            # What has ended since may be followed by another branch: the next round looks again.
            self._settle_pending(view)
            return None
        is_new = self._looks(view)
        # After a rollback the branch is at an earlier step than when this was set.
        quiet = min(self._memory.get("quiet_until", -1), view.step + QUIET_STEPS)
        self._memory["quiet_until"] = quiet
        if is_new and not why and view.step >= quiet:
            self._decide(branch, view)
        # A training can wait until it was looked at, and what was decided has been asked for.
        self._memory["looked"] = {"branch": view.branch, "step": view.step, "began": began}
        self._beat()
        return self._over(view)

    def _decide(self, branch: Branch, view: View) -> None:
        memory = self._memory.setdefault("controller", {})
        self._controller.take(self.agent)
        chosen = self._controller.decide(view, memory)
        self._memory["count"] = count = self._memory.get("count", 0) + bool(chosen)
        # What it remembers is stored before it asks: asked twice, a key makes it one request.
        self._beat()
        outcomes = []
        for number, decision in enumerate(chosen):
            key = f"{count}:{number}"
            outcome = self._executor.carry_out(self.agent, view, decision, key)
            outcomes.append(outcome)
            self._note(view, decision, outcome)
            if outcome.kind == "refused":
                # What comes after it was decided for the case that it is done.
                break
        self._controller.settle(self.agent, branch, view, outcomes)
        self._beat()

    def _note(self, view: View, decision: Decision, outcome: Outcome) -> None:
        if outcome.kind == "nothing":
            return
        words = f"{outcome.kind}: {outcome.what}. {outcome.error or decision.reason}"
        self._report(f"step {view.step}: {words}")
        if not outcome.intervened:
            # The next update would show the same.
            self._memory["quiet_until"] = view.step + QUIET_STEPS
            return
        is_branch = isinstance(decision, Fork | Rollback)
        waits = {"request": outcome.request_id, "launch": outcome.launch_id, "follow": is_branch}
        self._memory.setdefault("pending", []).append(waits)
        with self._database.read() as connection:
            updates = run_steps(connection, self._branch())
            (newest,) = requests.of_agent(connection, self.agent.id, 1)
        self._memory["known"] = newest.seq
        self._spend(self._spent.intervened(updates, branches=outcome.branches, steps=outcome.steps))

    def _settle_pending(self, view: View) -> None:
        """Take note of what was asked for and has ended."""
        left = []
        for waiting in self._pending():
            if waiting["request"] is None:
                self._follow_launch(waiting)
                continue
            with self._database.read() as connection:
                request = requests.get(connection, waiting["request"])
            if request.state not in lifecycle.REQUEST_ENDS and not _is_held(request, view):
                left.append(waiting)
                continue
            self._ended(request, waiting, view)
        self._memory["pending"] = left
        if left:
            self._expire()

    def _ended(self, request: Request, waiting: dict[str, Any], view: View) -> None:
        self._report(f"request {request.id[:8]} is {request.state}")
        if request.state in ("declined", "expired", "rejected", "failed", "cancelled"):
            self._memory["quiet_until"] = view.step + QUIET_STEPS
            return
        result = request.result or {}
        if waiting["follow"] and result.get("segment"):
            with self._database.read() as connection:
                segment = segments.get(connection, result["segment"])
                self._memory["branch"] = runs.get_branch(connection, segment.branch_id).name
        elif waiting["follow"] and result.get("launch"):
            self._follow_launch({"launch": result["launch"]})

    def _follow_launch(self, waiting: dict[str, Any]) -> None:
        """Go on with the branch of a launch, if the one that was watched has ended."""
        if self._controller.every_branch:
            return
        with self._database.read() as connection:
            launch = launches.get(connection, waiting["launch"])
            watched = self._branch()
            segment = segments.get(connection, watched.segment_id or "")
            if lifecycle.segment_status(segment, time.time()) not in lifecycle.LIVE:
                self._memory["branch"] = launches.branch_name(connection, launch)
                self._over_since = math.inf

    def _looks(self, view: View) -> bool:
        """Return whether there is anything that was not looked at before."""
        seen = (view.branch, view.step, view.status, [len(curve) for curve in view.curves.values()])
        others = (*(s.step for s in view.siblings), *(trial.verdict for trial in view.trials))
        is_new = (*seen, *others) != self._seen
        self._seen = (*seen, *others)
        return is_new

    def _over(self, view: View) -> tuple[str, str] | None:
        """Return how the agent ends, once nothing that it watches is trained for a while."""
        watched = [view.status, *(s.status for s in view.siblings if self._controller.every_branch)]
        if any(status in ("running", "paused", "waiting", "empty") for status in watched):
            self._over_since = math.inf
            return None
        if self._over_since == math.inf:
            self._over_since = time.monotonic()
        if self._pending() or time.monotonic() - self._over_since < GRACE_SECONDS:
            return None
        return "ended", f"{view.run}/{view.branch} is {view.status}."

    def _branch(self) -> Branch:
        with self._database.read() as connection:
            run = runs.get_run(connection, self.agent.run_id)
            name = self._memory.get("branch") or run.default_branch
            branch = runs.named_branch(connection, run.id, name)
        if branch is None:
            raise NotFound("branch", f"{run.name}/{name}")
        self._memory["branch"] = branch.name
        return branch

    @property
    def _spent(self) -> budgets.Spent:
        return budgets.Spent.read(self.agent.spent)

    def _spend(self, spent: budgets.Spent) -> None:
        self.agent = self._updated(spent=spent.as_dict(), memory=self._memory)

    def _pending(self) -> list[dict[str, Any]]:
        pending: list[dict[str, Any]] = self._memory.get("pending", [])
        return pending

    def _beat(self) -> None:
        self.agent = self._updated(memory=self._memory)

    def _updated(self, **facts: Any) -> Agent:
        with self._database.transaction() as connection:
            return agents.beat(connection, self.agent.id, **facts)

    def _expire(self) -> None:
        with self._database.transaction() as connection:
            control.expire_overdue(connection, control.local_actor(), self.agent.run_id)

    def _report(self, words: str) -> None:
        if words == self._last:
            return
        self._last = words
        self._say(words)
        try:
            self.agent = self._updated(note=words[:2000])
        except BranchtrackError:
            # It is said; the row has it with the next one.
            return

    def _end(self, state: str, note: str) -> Agent:
        self._say(f"{state}: {note}")
        with self._database.transaction() as connection:
            agents.beat(connection, self.agent.id, memory=self._memory)
            return agents.move(
                connection, self.agent.id, state, actor=actor_of(self.agent).label, note=note
            )


def _is_held(request: Request, view: View) -> bool:
    """Return whether a change was made that no update can show while the training is paused."""
    return request.state == "applied" and view.status == "paused"


def own_process() -> dict[str, Any]:
    """Return the facts about this process that an agent's row has."""
    name = processes.own_name()
    host, pid, _ = name.rsplit(":", 2)
    return {"host": host, "pid": int(pid), "process": name}
