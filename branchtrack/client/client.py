"""The client: one method for each thing that the API can do.

Answers are the models of `branchtrack.schemas`. Errors are those of `branchtrack.errors`, with the
sentences of the server. It knows nothing of a home.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2
from pydantic import BaseModel

from branchtrack.client.connection import (
    PAUSE,
    TRIES,
    Connection,
    mapping,
    seconds,
    segment,
    texts,
    whole,
)
from branchtrack.client.problems import answer_of
from branchtrack.environment_variables import TOKEN_VARIABLE, URL_VARIABLE
from branchtrack.errors import InvalidInput, NotAnswered, Unreachable
from branchtrack.schemas.access import Caller, NewToken, Token, TokenPage
from branchtrack.schemas.agents import (
    Agent,
    AgentList,
    Exchange,
    ExchangePage,
    Proposal,
    ProposalList,
)
from branchtrack.schemas.alerts import Alert, AlertPage, Watch
from branchtrack.schemas.audit import AuditPage, Chain, Event
from branchtrack.schemas.curves import Comparison, Curve, Diff, MetricLine, MetricList
from branchtrack.schemas.launches import Launch, LaunchInQueue, Log, Ordered, OrderPreview, Queue
from branchtrack.schemas.nodes import Code, Node, NodeCode, NodePage, NumberedNode, Pin, Verdict
from branchtrack.schemas.replays import Interventions, Replay
from branchtrack.schemas.requests import Preview, Request, RequestPage
from branchtrack.schemas.runs import BranchLine, BranchList, Labels, Run, RunLine, RunPage, Tree
from branchtrack.schemas.search import Match, MatchPage
from branchtrack.schemas.shards import BranchData
from branchtrack.schemas.steering import Settings
from branchtrack.schemas.storage import Storage, Sweep
from branchtrack.schemas.trash import Deletion, Entry, TrashPage

Model = TypeVar("Model", bound=BaseModel)
Values = Mapping[str, Any]


class Client:
    """A client of the server at ``url``, which may be a printed address with its token.

    Without ``url`` or ``token`` they are those of the environment. ``timeout`` is for each request
    to the server, in seconds. What only reads is tried again if the server does not answer, and so
    are requests, each of which gets a key.

        with branchtrack.Client("http://127.0.0.1:8642", token) as client:
            client.set("digits/main", {"lr": 3e-4}, reason="loss spikes")

    A branch is named ``RUN`` (its default branch) or ``RUN/BRANCH``, a node by the beginning of its
    id or as ``RUN@STEP``.

    Raises:
        InvalidInput: ``url``, ``token`` or ``timeout`` cannot be one; there is no ``url``.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout: float = 30.0,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        url = url or os.environ.get(URL_VARIABLE, "")
        token = token or os.environ.get(TOKEN_VARIABLE)
        self._connection = Connection(url, token, timeout, transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._connection.close()

    # Reading

    def whoami(self) -> Caller:
        """Return who the server takes this client for."""
        return self._get("/whoami", Caller)

    def runs(self) -> Iterator[RunLine]:
        """Yield every run, the latest created first."""
        yield from self._pages("/runs", RunPage, "after")

    def run(self, run: str) -> Run:
        """Return a run without its tree."""
        return self._get(_path("/runs/{run}", run=run), Run)

    def tree(self, run: str) -> Tree:
        """Return a run with all its branches and nodes."""
        return self._get(_path("/runs/{run}/tree", run=run), Tree)

    def branches(self, run: str) -> list[BranchLine]:
        """Return the branches of a run in order of creation."""
        return self._get(_path("/runs/{run}/branches", run=run), BranchList).branches

    def nodes(
        self, run: str, *, branch: str | None = None, kind: str | None = None
    ) -> Iterator[NumberedNode]:
        """Yield the nodes of a run in the order in which they were committed."""
        query = {"branch": branch, "kind": kind}
        yield from self._pages(_path("/runs/{run}/nodes", run=run), NodePage, "after", **query)

    def node(self, node: str) -> Node:
        """Return a node with its whole record."""
        return self._get(_path("/nodes/{node}", node=node), Node)

    def code(self, node: str) -> Code | None:
        """Return what ran when a node was made; None if that was not recorded."""
        return self._get(_path("/nodes/{node}/code", node=node), NodeCode).code

    def metrics(self, run: str, branch: str | None = None) -> list[MetricLine]:
        """Return the metrics of a branch with their newest values."""
        path = _path("/runs/{run}/metrics", run=run)
        return self._get(path, MetricList, branch=branch).metrics

    def data(self, branch: str) -> BranchData:
        """Return the shards that a branch has trained from, with the samples of each."""
        return self._get(self._branch(branch, "/data"), BranchData)

    def curve(self, branch: str, metric: str = "loss", **query: Any) -> Curve:
        """Return a metric along a branch; ``query`` as in `branchtrack.schemas.curves.CurveQuery`.

        With ``since``, the ``next`` of an earlier curve, only what is new.
        """
        return self._get("/curve", Curve, branch=branch, metric=metric, **query)

    def compare(self, a: str, b: str, metric: str = "loss", **query: Any) -> Comparison:
        """Return what differs between two branches, and a curve of each."""
        return self._get("/compare", Comparison, a=a, b=b, metric=metric, **query)

    def diff(self, a: str, b: str) -> Diff:
        """Return what differs between two branches, two nodes, or one of each."""
        return self._get("/diff", Diff, a=a, b=b)

    def settings(self, branch: str) -> Settings:
        """Return what a branch can be asked for."""
        return self._get(self._branch(branch, "/settings"), Settings)

    def find(self, query: str = "") -> Iterator[Match]:
        """Yield the nodes of all runs that a query matches, the newest first."""
        yield from self._pages("/find", MatchPage, "after", q=query)

    def storage(self) -> Storage:
        """Return what everything takes up."""
        return self._get("/storage", Storage)

    def audit(self, run: str, after: int = 0) -> Iterator[Event]:
        """Yield the events of a run's log after number ``after``, up to the newest."""
        while True:
            page = self._get(_path("/runs/{run}/audit", run=run), AuditPage, after=after)
            yield from page.events
            if not page.events:
                return
            after = page.next

    def chain(self, run: str) -> Chain:
        """Return whether the log of a run is as it was written."""
        return self._get(_path("/runs/{run}/audit/chain", run=run), Chain)

    def events(self, run: str, after: int | None = None) -> Iterator[Event]:
        """Yield the events of a run as they happen, for ever.

        They begin after number ``after``, or with what happens next. A stream that breaks off is
        continued without a gap.

        Raises:
            Unreachable: the server did not answer for several tries in a row.
        """
        path = _path("/runs/{run}/events", run=run)
        last_id, failures = None if after is None else whole("after", after), 0
        while True:
            try:
                with self._connection.stream(path, last_id) as source:
                    for message in source:
                        if message.data:
                            yield answer_of(Event, message.data)
                            last_id, failures = message.id, 0
            except Unreachable:
                failures += 1
                if failures == TRIES:
                    raise
            time.sleep(PAUSE * 2**failures)

    def alerts(
        self, run: str | None = None, since: int | None = None, level: str = "info"
    ) -> AlertPage:
        """Return alerts of all runs, or of a run or branch: those after ``since``, or the newest.

        The ``cursor`` of the answer is the ``since`` of what is new later.
        """
        return self._get("/alerts", AlertPage, run=run, since=since, level=level)

    def watch(self, run: str) -> Watch:
        """Return what the trainings of a run are watched for."""
        return self._get(_path("/runs/{run}/watch", run=run), Watch)

    def change_watch(self, run: str, rules: Values, **fields: Any) -> Watch:
        """Change some of what a run is watched for; ``fields`` are ``reset`` and ``reason``."""
        path = _path("/runs/{run}/watch", run=run)
        return self._send("PATCH", path, Watch, {**fields, "rules": mapping("rules", rules)})

    def see_alert(self, alert: str) -> Alert:
        """Mark an alert as seen."""
        return self._send("POST", _path("/alerts/{alert}/seen", alert=alert), Alert)

    # Steering

    def set(self, branch: str, values: Values, **more: Any) -> Request:
        """Ask for new values of settings; ``more`` as in `request`."""
        return self.request(branch, "set", values=mapping("values", values), **more)

    def request(
        self, branch: str, kind: str, *, wait: float = 0.0, key: str | None = None, **fields: Any
    ) -> Request:
        """Ask the process that trains a branch for an intervention.

        ``fields`` are those of its kind, and ``reason``, ``only_if``, ``not_after_step``,
        ``expires_in``, ``at_step``, ``once``. With ``wait`` it returns once the request has
        ended, or as `wait` does.

        Raises:
            NotLive: nothing trains the branch. NotAnswered: it did not end within ``wait`` seconds.
        """
        wait = seconds("wait", wait)
        body = {"kind": kind, **fields, "key": key or os.urandom(16).hex()}
        path = self._branch(branch, "/requests")
        sent = self._send("POST", path, Request, body, repeatable=True)
        return self.wait(sent.id, wait) if wait else sent

    def preview(self, branch: str, kind: str, **fields: Any) -> Preview:
        """Return what a request would change, and whether it is valid; nothing is sent."""
        body = {"kind": kind, **fields}
        path = self._branch(branch, "/preview")
        return self._send("POST", path, Preview, body, repeatable=True)

    def interventions(self, branch: str, **query: Any) -> Interventions:
        """Return the changes along a branch; ``query``: ``by``, and ``from`` a node."""
        return self._get(self._branch(branch, "/interventions"), Interventions, **query)

    def replay(self, branch: str, recording: str, **options: Any) -> Replay:
        """Ask for the changes in the text of a recording; ``options`` as in the API."""
        body = {"recording": recording, **options}
        return self._send("POST", self._branch(branch, "/replay"), Replay, body, repeatable=True)

    def show_request(self, request_id: str) -> Request:
        """Return a request as it is now."""
        return self._get(_path("/requests/{request_id}", request_id=request_id), Request)

    def requests(self, run: str) -> Iterator[Request]:
        """Yield the requests of a run, newest first."""
        path = _path("/runs/{run}/requests", run=run)
        yield from self._pages(path, RequestPage, "before")

    def wait(self, request_id: str, timeout: float = 60.0) -> Request:
        """Return a request once it has ended.

        Raises:
            NotAnswered: ``timeout`` seconds passed.
        """
        timeout = seconds("timeout", timeout)
        deadline, pause = time.monotonic() + timeout, 0.05
        while True:
            request = self.show_request(request_id)
            if request.has_ended:
                return request
            if time.monotonic() >= deadline:
                raise NotAnswered(
                    f"Request {request.id} is {request.state} and has no answer after "
                    f"{timeout:g} s.",
                    safe="It stays recorded and will still be carried out.",
                    fix="Look again later, or cancel it.",
                    request=request.id,
                    waited=timeout,
                )
            time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
            pause = min(1.0, pause * 2)

    def cancel(self, request_id: str) -> Request:
        """Ask for the cancellation of a request; the process says whether that was in time."""
        path = _path("/requests/{request_id}/cancel", request_id=request_id)
        return self._send("POST", path, Request)

    def proposals(self, run: str | None = None) -> list[Proposal]:
        """Return what waits for a person's decision, the oldest first."""
        return self._get("/proposals", ProposalList, run=run).proposals

    def propose_fork(self, node: str, settings: Values | None = None, **fields: Any) -> Request:
        """Propose a fork of a node; ``fields`` as in `agents.ForkProposalBody`.

        A request is proposed by `request` with ``propose=True``.
        """
        body = {**fields, "settings": mapping("settings", settings)}
        return self._send("POST", _path("/nodes/{node}/propose", node=node), Request, body)

    def approve(self, proposal: str) -> Request:
        """Have a proposal carried out."""
        path = _path("/proposals/{proposal}/approve", proposal=proposal)
        return self._send("POST", path, Request)

    def decline(self, proposal: str, reason: str = "") -> Request:
        """Say no to a proposal."""
        path = _path("/proposals/{proposal}/decline", proposal=proposal)
        return self._send("POST", path, Request, {"reason": reason})

    def agents(self, run: str | None = None) -> list[Agent]:
        """Return the agents of a run, or of all runs, the newest first."""
        return self._get("/agents", AgentList, run=run).agents

    def change_agent(self, agent: str, **fields: Any) -> Agent:
        """Give an agent another ``mode``, or other limits of its ``budget``."""
        return self._send("PATCH", _path("/agents/{agent}", agent=agent), Agent, fields)

    def stop_agent(self, agent: str) -> Agent:
        """Have an agent end."""
        return self._send("POST", _path("/agents/{agent}/stop", agent=agent), Agent)

    def exchanges(self, agent: str) -> Iterator[Exchange]:
        """Yield what an agent and its language model said, newest first."""
        path = _path("/agents/{agent}/exchanges", agent=agent)
        yield from self._pages(path, ExchangePage, "before")

    # Launches

    def resume(self, node: str, settings: Values | None = None, **fields: Any) -> list[Launch]:
        """Order one branch from a node, or several; ``fields`` as in `launches.ResumeBody`."""
        body = {**fields, "settings": mapping("settings", settings)}
        path = _path("/nodes/{node}/resume", node=node)
        ordered = self._send("POST", path, Ordered, body).root
        return ordered if isinstance(ordered, list) else [ordered]

    def preview_resume(
        self, node: str, settings: Values | None = None, **fields: Any
    ) -> OrderPreview:
        """Return what `resume` would order."""
        body = {**fields, "settings": mapping("settings", settings), "dry_run": True}
        return self._send("POST", _path("/nodes/{node}/resume", node=node), OrderPreview, body)

    def continue_branch(self, branch: str, settings: Values | None = None, **fields: Any) -> Launch:
        """Order a launch that goes on in a branch; ``fields`` as in `launches.ContinueBody`."""
        body = {**fields, "settings": mapping("settings", settings)}
        return self._send("POST", self._branch(branch, "/continue"), Launch, body)

    def launches(self) -> Queue:
        """Return the queue: launches that have not ended, the last that have, and workers."""
        return self._get("/launches", Queue)

    def launch(self, launch_id: str) -> LaunchInQueue:
        """Return a launch with its place in the queue, or its progress."""
        return self._get(_path("/launches/{launch_id}", launch_id=launch_id), LaunchInQueue)

    def log(self, launch_id: str, lines: int = 200) -> str:
        """Return the last lines of what a launch's process printed."""
        path = _path("/launches/{launch_id}/log", launch_id=launch_id)
        return self._get(path, Log, lines=lines).text

    def cancel_launch(self, launch_id: str) -> Launch:
        """Cancel a launch; one with a process is ended by its worker."""
        path = _path("/launches/{launch_id}/cancel", launch_id=launch_id)
        return self._send("POST", path, Launch)

    # Managing

    def label(
        self, ref: str, add_tags: Sequence[str] = (), remove_tags: Sequence[str] = (), **fields: Any
    ) -> Labels:
        """Change what people call a run or ``RUN/BRANCH``; ``fields`` as in `runs.LabelsBody`."""
        tags = {"add_tags": texts("add_tags", add_tags)}
        body = {**fields, **tags, "remove_tags": texts("remove_tags", remove_tags)}
        return self._send("PATCH", self._run_or_branch(ref), Labels, body)

    def tag(
        self, node: str, add: Sequence[str] = (), remove: Sequence[str] = (), reason: str = ""
    ) -> Labels:
        """Change the tags of a node."""
        tags = {"add_tags": texts("add", add), "remove_tags": texts("remove", remove)}
        body = {**tags, "reason": reason}
        return self._send("PATCH", _path("/nodes/{node}", node=node), Labels, body)

    def pin(self, node: str) -> Pin:
        """Keep the checkpoint of a node whatever the policy of its run."""
        return self._send("POST", _path("/nodes/{node}/pin", node=node), Pin)

    def unpin(self, node: str) -> Pin:
        """Let the policy of its run decide on a node again."""
        return self._send("DELETE", _path("/nodes/{node}/pin", node=node), Pin)

    def verify(self, node: str) -> Verdict:
        """Return whether all bytes of a node are as they were written."""
        return self._send("POST", _path("/nodes/{node}/verify", node=node), Verdict)

    def gc(self, run: str, **policy: Any) -> Sweep:
        """Sweep a run; ``policy`` as in `storage.SweepBody`, without one by its own."""
        return self._send("POST", _path("/runs/{run}/gc", run=run), Sweep, policy)

    def delete(self, ref: str, *, with_children: bool = False, reason: str = "") -> Deletion:
        """Move a run or ``RUN/BRANCH`` to the trash."""
        query: dict[str, Any] = {"reason": reason}
        query |= {"with_children": with_children} if isinstance(ref, str) and "/" in ref else {}
        return self._send("DELETE", self._run_or_branch(ref), Deletion, query=query)

    def trash(self) -> Iterator[Entry]:
        """Yield what is in the trash, the latest deleted first."""
        yield from self._pages("/trash", TrashPage, "before")

    def restore(self, entry: str, reason: str = "") -> Deletion:
        """Take an entry out of the trash, by its id."""
        path = _path("/trash/{entry}/restore", entry=entry)
        return self._send("POST", path, Deletion, query={"reason": reason})

    def purge(self, entry: str) -> Entry:
        """Remove an entry of the trash for good."""
        return self._send("DELETE", _path("/trash/{entry}", entry=entry), Entry)

    def tokens(self) -> Iterator[Token]:
        """Yield every token, without its secret."""
        yield from self._pages("/tokens", TokenPage, "after")

    def create_token(self, name: str, role: str, **fields: Any) -> NewToken:
        """Create a token; its secret is in no other answer."""
        body = {"name": name, "role": role, **fields}
        return self._send("POST", "/tokens", NewToken, body)

    def revoke_token(self, name: str) -> Token:
        """Revoke a token."""
        return self._send("DELETE", _path("/tokens/{name}", name=name), Token)

    # What all of these are made of

    def _get(self, path: str, model: type[Model], **query: Any) -> Model:
        return self._send("GET", path, model, query=query, repeatable=True)

    def _pages(self, path: str, model: type[Any], cursor: str, **query: Any) -> Iterator[Any]:
        """Yield the items of every page."""
        while True:
            page = self._get(path, model, **query)
            yield from getattr(page, model.items)
            if page.next is None:
                return
            query[cursor] = page.next

    def _send(
        self,
        method: str,
        path: str,
        model: type[Model],
        body: Values | None = None,
        *,
        query: Values | None = None,
        repeatable: bool = False,
    ) -> Model:
        present = {name: value for name, value in (query or {}).items() if value is not None}
        content = self._connection.send(method, path, present, body, repeatable=repeatable)
        return answer_of(model, content)

    def _branch(self, ref: str, more: str = "") -> str:
        """Return the path of a branch; of a run it is the default branch."""
        parts = ref.split("/") if isinstance(ref, str) else []
        if len(parts) not in (1, 2) or not all(parts):
            raise InvalidInput("branch", ref, "RUN or RUN/BRANCH")
        run, branch = parts if len(parts) == 2 else (ref, self.run(ref).default_branch)
        return _path("/runs/{run}/branches/{branch}", run=run, branch=branch) + more

    def _run_or_branch(self, ref: str) -> str:
        """Return the path of a run, or of the branch that ``RUN/BRANCH`` names."""
        is_branch = isinstance(ref, str) and "/" in ref
        return self._branch(ref) if is_branch else _path("/runs/{ref}", ref=ref)


def _path(route: str, **names: str) -> str:
    """Return a route with names in it, so that none of them leads to another route."""
    return route.format(**{field: segment(field, name) for field, name in names.items()})
