"""The tools that only read: runs, their trees, nodes, curves, differences and alerts."""

from __future__ import annotations

from typing import Any

from branchtrack.agents.tools import answers
from branchtrack.agents.tools.answers import Name
from branchtrack.client.client import Client
from branchtrack.errors import InvalidInput
from branchtrack.schemas.runs import BranchLine
from branchtrack.schemas.trials import Trial, TrialHead

_TRIAL = ("id", "kind", "node", "state", "error", "metric", "steps", "repeats", "actor", "reason")
_NODE = ("id", "branch", "parent", "step", "kind", "message", "actor")


class Readers:
    """The reading tools over a client."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def overview(self, run: Name | None = None) -> dict[str, Any]:
        """Begin here. All runs, or one run: its branches with their last metrics, the queue, what
        waits for a person, new alerts, and what you may do."""
        client = self._client
        me = client.whoami()
        queue = client.launches()
        answer: dict[str, Any] = {
            "you": answers.chosen(me, "actor", "role", "only"),
            "queued": [
                f"{line.run}/{line.branch}: {line.state} {line.about}".strip()
                for line in queue.launches
            ][: answers.MOST],
            "proposals": [
                f"{proposal.id[:8]} {proposal.run}/{proposal.branch} {proposal.kind}: "
                f"{answers.text(proposal.reason)}"
                for proposal in client.proposals(run)
            ][: answers.MOST],
        }
        if run is None:
            runs = (
                {**answers.chosen(line, "name", "status", "branches", "nodes", "tags")}
                for line in client.runs()
            )
            return answers.plain({**answer, "runs": answers.cut(runs, answers.MOST, "runs")})
        alerts = [each for each in client.alerts(run).alerts if each.seen_at is None]
        answer["new_alerts"] = [answers.text(alert.text) for alert in alerts[-5:]]
        branches = [self._branch(run, line) for line in client.branches(run)]
        live = sorted(branches, key=lambda line: line["status"] not in ("running", "paused"))
        return answers.plain({**answer, "branches": answers.cut(live, answers.MOST, "branches")})

    def tree(self, run: Name, branch: Name | None = None, detail: bool = False) -> dict[str, Any]:
        """The nodes of a run or of one branch, the newest first: what can be forked. Plain
        checkpoints are left out unless detail is true or the branch is named."""
        kind_matters = branch is None and not detail
        nodes = list(self._client.nodes(run, branch=branch))[::-1]
        shown = [
            {
                **answers.chosen(node, *_NODE),
                "changes": [f"{c.name}: {c.before} -> {c.after}" for c in node.changes],
                "metrics": answers.metrics(node.metrics),
            }
            for node in nodes
            if not kind_matters or node.kind != "checkpoint"
        ]
        most = 100 if detail else 3 * answers.MOST
        left_out = len(nodes) - len(shown)
        more = {"plain_checkpoints_left_out": left_out} if left_out else {}
        return answers.plain({"nodes": answers.cut(shown, most, "nodes"), **more})

    def node(self, node: Name, detail: bool = False) -> dict[str, Any]:
        """One node (id, or RUN@STEP): its settings, metrics, changes, children, and how exactly it
        was restored. With detail also the environment and what ran."""
        record = self._client.node(node)
        answer = {
            **answers.chosen(record, *_NODE, "run", "children", "thinned", "durable", "restore"),
            "changes": [f"{c.name}: {c.before} -> {c.after}" for c in record.changes],
            "metrics": answers.metrics(record.metrics),
            "settings": dict(list(record.settings.items())[: 1000 if detail else 25]),
        }
        if detail:
            code = self._client.code(node)
            answer["environment"] = record.environment
            answer["code"] = None if code is None else code.model_dump()
        return answers.plain(answer)

    def compare(self, a: Name, b: Name, metric: Name = "loss", points: int = 10) -> dict[str, Any]:
        """What differs between two branches (RUN/BRANCH) or nodes: settings, metrics, and for
        branches both curves, thinned. Use it before you say that one is better."""
        difference = self._client.diff(a, b)
        answer: dict[str, Any] = {
            **answers.chosen(difference, "common_ancestor", "common_step"),
            "settings": [row.model_dump() for row in difference.settings],
            "metrics": [row.model_dump() for row in difference.metrics if "/" not in row.name],
        }
        if "@" not in a + b and "/" in a + b:
            for name, side in (("a", a), ("b", b)):
                answer[f"curve_{name}"] = self.curve(side, metric, points)["points"]
        return answers.plain(answer)

    def curve(
        self, branch: Name, metric: Name = "loss", points: int = 20, since: str | None = None
    ) -> dict[str, Any]:
        """A metric along a branch as [step, value], thinned with extremes kept. With since, the
        cursor of an earlier answer, only what is new."""
        query: dict[str, Any] = {"points": max(4, points)} if since is None else {"since": since}
        curve = self._client.curve(branch, metric, **query)
        pairs = zip(curve.steps, curve.values, strict=True)
        shown = [[step, answers.rounded(value)] for step, value in pairs]
        most = max(points, 4) if since is None else 200
        return answers.plain(
            {
                "points": shown[-most:],
                "of": curve.points,
                "cursor": curve.next,
                **({"reset": True} if curve.reset else {}),
            }
        )

    def alerts(self, run: Name | None = None, since: int | None = None) -> dict[str, Any]:
        """What was noticed: NaN, spikes, plateaus, stalls, crashes, each with the fork that would
        mend it. With since, the cursor of an earlier answer, only what is new."""
        page = self._client.alerts(run, since)
        names = ("id", "level", "kind", "text", "step", "run", "branch", "proposal")
        listed = [answers.chosen(alert, *names) for alert in page.alerts]
        return answers.plain({"alerts": listed[-20:], "cursor": page.cursor, "more": page.more})

    def verdict(
        self, trial: Name | None = None, run: Name | None = None, detail: bool = False
    ) -> dict[str, Any]:
        """What trials show: one trial by its id (with detail its pairs too), or all of a run and
        which of the run's interventions helped. The effect is with the change less without it.
        Exactly one of trial and run. Do not call a change good that no trial shows to help."""
        if (trial is None) == (run is None):
            raise InvalidInput("trial", trial, "either a trial or a run")
        if trial is not None:
            return answers.plain(_with_pairs(self._client.trial(trial), detail))
        review = self._client.review(run or "")
        tried = [_trial(record) for record in self._client.trials(run or "")]
        changes = [
            answers.chosen(row, "node", "branch", "step", "text", "actor", "words", "why")
            for row in review.changes
        ]
        most = 100 if detail else answers.MOST
        counts = ("helped", "hurt", "none", "inconclusive", "pending", "untried")
        return answers.plain(
            {
                "trials": answers.cut(tried, most, "trials"),
                "interventions": answers.cut(changes, most, "interventions"),
                "counts": {name: getattr(review, name) for name in counts},
            }
        )

    def _branch(self, run: str, line: BranchLine) -> dict[str, Any]:
        facts = answers.chosen(line, "name", "status", "step", "max_steps", "head", "forked_from")
        if line.status not in ("running", "paused", "finished", "stopped"):
            return facts
        last = {each.name: each.value for each in self._client.metrics(run, line.name)}
        return {**facts, "last": answers.metrics(last)}


def _trial(record: TrialHead) -> dict[str, Any]:
    return {**answers.chosen(record, *_TRIAL), "verdicts": answers.verdicts(record)}


def _with_pairs(record: Trial, detail: bool) -> dict[str, Any]:
    """Return a trial with the values of its pairs, the control's first, if they are wanted."""
    answer = _trial(record)
    if detail:
        answer["pairs"] = [[answers.rounded(value) for value in p.values] for p in record.pairs]
    return answer
