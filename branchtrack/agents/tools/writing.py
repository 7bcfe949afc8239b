"""The tools that ask for something: settings, forks, proposals, notes; and waiting for what came.

Nothing is reported that the training process has not answered.
"""

from __future__ import annotations

import time
from typing import Any

from branchtrack.agents.tools import answers
from branchtrack.agents.tools.answers import Name, Seconds
from branchtrack.client.client import Client
from branchtrack.core import lifecycle
from branchtrack.core.trials.records import RUNNING
from branchtrack.errors import InvalidInput, NotAnswered, NotFound
from branchtrack.schemas.requests import Request

#: Seconds that a tool waits at most: clients give up on an answer after a minute.
LONGEST = 50.0
_REQUEST = ("id", "kind", "state", "requested", "before", "applied", "effective", "result", "step")
_TRIAL = (
    "id",
    "run",
    "state",
    "error",
    "metric",
    "steps",
    "repeats",
    "trained_steps",
    "most_steps",
)
_LAUNCH = ("launch", "run", "branch", "node", "state", "status", "about", "step", "max_steps")


class Writers:
    """The writing tools over a client."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def set(
        self, branch: Name, values: dict[str, Any], reason: str, wait: Seconds = 20.0
    ) -> dict[str, Any]:
        """Change settings of a branch that trains now, all or none; relative values such as "x0.5"
        work. The answer is what the process read back: state "verified" means that the next update
        used the new values, "ineffective" that it did not. A reason is needed."""
        request = self._client.request(branch, "set", values=values, reason=reason)
        return self._request(self._awaited(request, wait))

    def fork(
        self,
        node: Name,
        settings: dict[str, Any],
        reason: str,
        name: Name | None = None,
        mode: Name | None = None,
    ) -> dict[str, Any]:
        """Train a new branch from a node (id, or RUN@STEP) with other settings; a list of values
        makes a branch for each. The node's branch goes on untouched. Ask `wait` how it starts: a
        worker has to take it."""
        more = {"name": name, "mode": mode}
        fields = {key: value for key, value in more.items() if value is not None}
        launches = self._client.resume(node, settings, reason=reason, **fields)
        return answers.plain({"launches": [answers.chosen(each, *_LAUNCH) for each in launches]})

    def trial(
        self,
        node: Name,
        settings: dict[str, Any],
        reason: str,
        steps: int = 100,
        repeats: int = 8,
        metric: Name | None = None,
        margin: float | str | None = None,
    ) -> dict[str, Any]:
        """Find out whether a change helps: pairs of forks of a node, with these settings and
        without, from the same state with the same data, each trained for some steps. A list of
        values tries each. It trains at most repeats x (1 + changes) x steps updates, and ends as
        soon as it is settled. Differences within the margin (a number, or "0.5%") do not matter.
        `wait` for it, then ask `verdict`: a worker has to train it."""
        more = {"metric": metric, "margin": margin}
        fields = {key: value for key, value in more.items() if value is not None}
        answer = self._client.try_change(
            node, settings, reason=reason, steps=steps, repeats=repeats, **fields
        )
        changes = [change.label for change in answer.changes]
        return answers.plain({**answers.chosen(answer, *_TRIAL), "changes": changes})

    def propose(
        self,
        reason: str,
        values: dict[str, Any],
        branch: Name | None = None,
        node: Name | None = None,
    ) -> dict[str, Any]:
        """Propose a change and let a person decide: of settings of a branch, or a fork of a node
        with these values. Exactly one of branch and node. It expires after an hour."""
        if (branch is None) == (node is None):
            raise InvalidInput("branch", branch, "either a branch or a node")
        if node is not None:
            return self._request(self._client.propose_fork(node, values, reason=reason))
        more: dict[str, Any] = {"values": values, "reason": reason, "propose": True}
        return self._request(self._client.request(branch or "", "set", **more))

    def note(self, branch: Name, text: str, reason: str = "a remark") -> dict[str, Any]:
        """Add a remark to the record of a branch, for people and for agents after you."""
        return self._request(self._client.request(branch, "note", text=text, reason=reason))

    def wait(
        self,
        request: Name | None = None,
        launch: Name | None = None,
        branch: Name | None = None,
        trial: Name | None = None,
        until_step: int | None = None,
        seconds: Seconds = 30.0,
    ) -> dict[str, Any]:
        """Wait until a request or a trial has ended, a launch trains or has ended, or a branch
        (RUN/BRANCH) has reached a step or stopped training. Exactly one of request, launch, branch
        and trial; 50 seconds at most: call it again. "done" says whether it came to that."""
        names = {"request": request, "launch": launch, "branch": branch, "trial": trial}
        if sum(value is not None for value in names.values()) != 1:
            raise InvalidInput("request", request, "exactly one of request, launch, branch, trial")
        deadline = time.monotonic() + min(max(seconds, 0.0), LONGEST)
        while True:
            done, answer = self._look(request, launch, branch, trial, until_step)
            if done or time.monotonic() >= deadline:
                return answers.plain({"done": done, **answer})
            time.sleep(0.5)

    def _look(
        self,
        request: str | None,
        launch: str | None,
        branch: str | None,
        trial: str | None,
        until_step: int | None,
    ) -> tuple[bool, dict[str, Any]]:
        if request is not None:
            record = self._client.show_request(request)
            return record.has_ended, self._request(record)
        if launch is not None:
            order = self._client.launch(launch)
            trains = order.status in lifecycle.LIVE
            return (
                trains or order.state in lifecycle.LAUNCH_ENDS,
                answers.chosen(order, *_LAUNCH, "error"),
            )
        if trial is not None:
            tried = self._client.trial(trial)
            answer = answers.chosen(tried, *_TRIAL)
            return tried.state != RUNNING, {**answer, "verdicts": answers.verdicts(tried)}
        run, _, name = (branch or "").partition("/")
        name = name or self._client.run(run).default_branch
        line = next((each for each in self._client.branches(run) if each.name == name), None)
        if line is None:
            raise NotFound("branch", branch or "")
        reached = until_step is not None and (line.step or 0) >= until_step
        ended = line.status not in ("running", "paused", "waiting")
        facts = ("name", "status", "step", "max_steps", "head", "error")
        return reached or ended, answers.chosen(line, *facts)

    def _awaited(self, request: Request, seconds: float) -> Request:
        try:
            return self._client.wait(request.id, min(max(seconds, 0.1), LONGEST))
        except NotAnswered:
            return self._client.show_request(request.id)

    def _request(self, request: Request) -> dict[str, Any]:
        """Return a request; what it left behind, if it ended badly, in words."""
        answer = answers.chosen(request, *_REQUEST, "node", "error", "actor")
        if request.state == "proposed":
            answer["next"] = "A person has to approve it; `wait` for the request."
        return answers.plain(answer)
