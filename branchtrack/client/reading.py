"""What a client reads of runs, branches and nodes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from branchtrack.client.calls import Calls, path_of
from branchtrack.client.connection import PAUSE, TRIES, whole
from branchtrack.client.problems import answer_of
from branchtrack.errors import Unreachable
from branchtrack.schemas.access import Caller
from branchtrack.schemas.audit import AuditPage, Chain, Event
from branchtrack.schemas.curves import (
    Comparison,
    Curve,
    Diff,
    MetricLine,
    MetricList,
    WeightDistance,
)
from branchtrack.schemas.nodes import Code, Node, NodeCode, NodePage, NumberedNode
from branchtrack.schemas.runs import BranchLine, BranchList, Run, RunLine, RunPage, Tree
from branchtrack.schemas.search import Match, MatchPage
from branchtrack.schemas.shards import BranchData
from branchtrack.schemas.steering import Settings
from branchtrack.schemas.storage import Storage


class Reading(Calls):
    """Methods that read the record."""

    def whoami(self) -> Caller:
        """Return who the server takes this client for."""
        return self._get("/whoami", Caller)

    def runs(self, query: str = "", *, sort: str = "", columns: str = "") -> Iterator[RunLine]:
        """Yield every run, the latest created first, or those that a query matches in an order."""
        asked = {"query": query, "sort": sort, "columns": columns}
        given = {name: text for name, text in asked.items() if text}
        yield from self._pages("/runs", RunPage, "after", **given)

    def run(self, run: str) -> Run:
        """Return a run without its tree."""
        return self._get(path_of("/runs/{run}", run=run), Run)

    def tree(self, run: str) -> Tree:
        """Return a run with all its branches and nodes."""
        return self._get(path_of("/runs/{run}/tree", run=run), Tree)

    def branches(self, run: str) -> list[BranchLine]:
        """Return the branches of a run in order of creation."""
        return self._get(path_of("/runs/{run}/branches", run=run), BranchList).branches

    def nodes(
        self, run: str, *, branch: str | None = None, kind: str | None = None
    ) -> Iterator[NumberedNode]:
        """Yield the nodes of a run in the order in which they were committed."""
        query = {"branch": branch, "kind": kind}
        yield from self._pages(path_of("/runs/{run}/nodes", run=run), NodePage, "after", **query)

    def node(self, node: str) -> Node:
        """Return a node with its whole record."""
        return self._get(path_of("/nodes/{node}", node=node), Node)

    def code(self, node: str) -> Code | None:
        """Return what ran when a node was made; None if that was not recorded."""
        return self._get(path_of("/nodes/{node}/code", node=node), NodeCode).code

    def metrics(self, run: str, branch: str | None = None) -> list[MetricLine]:
        """Return the metrics of a branch with their newest values."""
        path = path_of("/runs/{run}/metrics", run=run)
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

    def weights(self, a: str, b: str) -> WeightDistance:
        """Return how far the weights of two sides are apart, by module, since they parted."""
        return self._get("/diff/weights", WeightDistance, a=a, b=b)

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
            page = self._get(path_of("/runs/{run}/audit", run=run), AuditPage, after=after)
            yield from page.events
            if not page.events:
                return
            after = page.next

    def chain(self, run: str) -> Chain:
        """Return whether the log of a run is as it was written."""
        return self._get(path_of("/runs/{run}/audit/chain", run=run), Chain)

    def events(self, run: str, after: int | None = None) -> Iterator[Event]:
        """Yield the events of a run as they happen, for ever.

        They begin after number ``after``, or with what happens next. A stream that breaks off is
        continued without a gap.

        Raises:
            Unreachable: the server did not answer for several tries in a row.
        """
        path = path_of("/runs/{run}/events", run=run)
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
