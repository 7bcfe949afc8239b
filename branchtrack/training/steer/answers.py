"""The results of requests at a control point: answers, the changes they make, what to expect.

Values and decisions only: no live object, no database.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from branchtrack.core.interventions import INTERVENTIONS, SETTING_KINDS
from branchtrack.core.records import Change, Node, Request
from branchtrack.training.settings.shadow_step import Options, Outcome


@dataclass
class Answer:
    """The result of a request at a control point; ``state`` as in the life of requests.

    ``settings`` are the settings that the next update must be seen to use. ``options`` are those of
    the optimizers' groups before and after the change, ``foreseen`` the rates that an unknown
    schedule would have reached next without it, and ``outcome`` the effect of the difference on the
    update, where there is one.
    """

    request: Request
    state: str = "applied"
    error: str | None = None
    before: dict[str, Any] | None = None
    applied: dict[str, Any] | None = None
    result: dict[str, Any] | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    options: tuple[Options, Options] | None = None
    outcome: Outcome | None = None
    foreseen: dict[str, list[float]] = field(default_factory=dict)

    @property
    def makes_node(self) -> bool:
        """Whether a node is committed for it, changes or not."""
        is_made = self.state in ("applied", "done", "superseded")
        return is_made and INTERVENTIONS[self.request.kind].makes_node


@dataclass
class Expectation:
    """Settings that the next update must be seen to use, and the answers to complete.

    ``groups`` are what each optimizer's groups hold for it; ``nodes`` holds the node once it is
    durable.
    """

    settings: dict[str, Any]
    groups: Mapping[str, list[dict[str, Any]]]
    answers: list[Answer]
    restored: dict[str, str] | None
    nodes: list[Node]

    def spare(self, unused: Collection[str]) -> None:
        """Expect nothing of ``unused`` settings that were not changed: there is nothing to report
        on them.
        """
        changed = {name for answer in self.answers for name in answer.settings}
        changed |= {change.name for node in self.nodes for change in node.changes}
        spared = set(unused) - changed
        self.settings = {name: value for name, value in self.settings.items() if name not in spared}


def merged(earlier: Expectation | None, later: Expectation) -> Expectation:
    """Merge what two control points at one step expect of the next update; the later wins."""
    if earlier is None:
        return later
    supersede([*earlier.answers, *later.answers])
    return Expectation(
        {**earlier.settings, **later.settings},
        later.groups,
        [*earlier.answers, *later.answers],
        earlier.restored,
        [*earlier.nodes, *later.nodes],
    )


def changes(answers: Sequence[Answer]) -> tuple[Change, ...]:
    """Return every changed setting with its value before the first change and after the last."""
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for answer in answers:
        if answer.state == "failed":
            continue
        for name, value in (answer.applied or {}).items():
            before.setdefault(name, (answer.before or {}).get(name))
            after[name] = value
    return tuple(
        Change(name, before[name], after[name]) for name in after if before[name] != after[name]
    )


def supersede(answers: Sequence[Answer]) -> None:
    """Supersede the earlier of two requests for one setting at one control point.

    Changes of shards add up: the update has to use what all of them made together. One of which
    nothing is left, as later ones remove or reweight the same shards, is superseded.
    """
    later: set[str] = set()
    undone: set[tuple[str, str]] = set()
    shards: dict[str, Any] | None = None
    for answer in reversed(answers):
        if answer.request.kind not in SETTING_KINDS or answer.state != "applied":
            continue
        if answer.request.kind == "data":
            shards = answer.settings = shards or answer.settings
            made, unmade = _shard_changes(answer.request.requested)
            if made <= undone:
                answer.state, answer.settings = "superseded", {}
            undone |= unmade
            continue
        answer.settings = {name: v for name, v in answer.settings.items() if name not in later}
        if not answer.settings:
            answer.state = "superseded"
        later.update(answer.settings)


def _shard_changes(
    requested: Mapping[str, Any],
) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """Return what a change of shards makes, and what it undoes of earlier ones, by shard."""
    weights = {("weight", name) for name in requested.get("weights", ())}
    removed = requested.get("remove", ())
    members = {("member", name) for name in (*requested.get("add", ()), *removed)}
    undone = {(what, name) for what in ("member", "weight") for name in removed}
    return members | weights, undone | weights


def message(answers: Sequence[Answer]) -> str:
    """Return a node's message: the reasons and messages of its requests."""
    reasons = [answer.request.reason for answer in answers if answer.request.reason]
    notes = [str(answer.request.requested.get("message") or "") for answer in answers]
    return "; ".join(text for text in [*reasons, *notes] if text)
