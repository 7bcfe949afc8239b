"""The fork that would mend what an alert is about: from which node, with which settings.

It orders nothing: a person, or an agent, does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from branchtrack.core.nonfinite import is_nonfinite, metric
from branchtrack.core.records import Branch, Node
from branchtrack.db import nodes, runs

#: What halves the learning rate of whatever node it is applied to.
_CALMER = {"lr": "x0.5"}
#: Metrics that are finite in a training that is well.
_VITAL = ("loss", "eval_loss", "grad_norm")
#: Nodes that are looked through, from the newest back.
_MOST = 10_000
_BACK = frozenset(("nan", "spike"))
_CONTINUES = frozenset(("stall", "crash", "disk"))


@dataclass(frozen=True)
class Problem:
    """What is wrong with a branch, as far as an offer depends on it.

    ``step`` is the first that is wrong, ``after`` the last before it that shows the training well.
    """

    kind: str
    step: int | None = None
    metric: str | None = None
    after: int | None = None


def offer(connection: Connection, branch: Branch, problem: Problem) -> dict[str, Any] | None:
    """Return ``node step settings name`` of the fork that would mend a problem, or None."""
    if problem.kind in _BACK:
        node = _last_healthy(connection, branch, problem)
    elif problem.kind == "plateau" or problem.kind in _CONTINUES:
        node = None if branch.head_id is None else nodes.get(connection, branch.head_id)
    else:
        return None
    if node is None:
        return None
    changes = {} if problem.kind in _CONTINUES else _calmer(node)
    return _described(connection, node, changes)


def renewed(connection: Connection, earlier: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return an offer once more, with a name that is free now; None if its node is gone."""
    node = nodes.by_prefix(connection, str(earlier["node"]))
    return None if node is None else _described(connection, node, earlier["settings"])


def _described(connection: Connection, node: Node, changes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "node": node.id,
        "step": node.step,
        "settings": dict(changes),
        "name": runs.suggested_name(connection, node),
    }


def _calmer(node: Node) -> dict[str, Any]:
    rate = node.settings.get("lr")
    is_rate = isinstance(rate, (int, float)) and not isinstance(rate, bool) and rate > 0
    return dict(_CALMER) if is_rate else {}


def _last_healthy(connection: Connection, branch: Branch, problem: Problem) -> Node | None:
    """Return the newest node whose weights are known to have been well.

    A loss of an update shows the weights before it, an evaluation those of its own step.
    """
    limit = problem.step or 0
    if problem.after is not None:
        limit = problem.after + (problem.metric or "").startswith("eval")
    vital = {*_VITAL, *([problem.metric] if problem.metric else [])}
    for node in _line(connection, branch.head_id):
        if node.step < limit and not any(
            is_nonfinite(metric(node.metrics.get(name))) for name in vital
        ):
            return node
    return None


def _line(connection: Connection, head_id: str | None) -> Iterator[Node]:
    """Yield the nodes from a head back to the root, across forks."""
    current = head_id
    for _ in range(_MOST):
        if current is None:
            return
        node = nodes.get(connection, current)
        yield node
        current = node.parent_id
