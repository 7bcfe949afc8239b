"""Several learning rates tried from one node, each for some updates, of which the best goes on.

What is remembered of it is JSON, so that an agent that is started again goes on with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from branchtrack.core.agents.decisions import Decision, Rollback
from branchtrack.core.agents.policies.policy import Memory
from branchtrack.core.agents.views import SeenNode, View

_KEY = "tries"


def begin(memory: Memory, node: SeenNode, rates: Sequence[float], reason: str) -> list[Decision]:
    """Return the rollback that tries the first of some rates from a node."""
    memory[_KEY] = {"node": node.id, "step": node.step, "left": list(rates), "results": []}
    return [_next(memory[_KEY], reason)]


def are_going_on(memory: Memory) -> bool:
    """Return whether rates are being tried."""
    return memory.get(_KEY) is not None


def go_on(memory: Memory, view: View, metric: str, updates: int) -> list[Decision]:
    """Return the rollback to the next try, or to the best one after the last; none while one runs.

    A try is over at the first node after so many ``updates`` that has the ``metric``, or once that
    is no number. A training that ended in a try is not taken up again.
    """
    tries: dict[str, Any] = memory[_KEY]
    points = view.curve(metric).after(tries["step"])
    if not view.is_live:
        del memory[_KEY]
        return []
    if not len(points):
        return []
    loss, rate = points.values[-1], float(view.settings["lr"])
    end = view.nodes[-1] if view.nodes else None
    if math.isfinite(loss):
        due = tries["step"] + updates
        if end is None or end.step < due or points.steps[-1] < due:
            return []
    else:
        loss, end = math.inf, None
    tries["results"].append([loss, rate, None if end is None else end.id])
    if tries["left"]:
        reason = f"{metric} {_number(loss)} after {updates} updates with lr {rate:g}."
        return [_next(tries, reason)]
    return _settle(memory, tries, metric)


def _next(tries: dict[str, Any], reason: str) -> Rollback:
    rate = tries["left"].pop(0)
    words = f"{reason} lr {rate:g} is tried from the node of step {tries['step']}."
    return Rollback(node=tries["node"], values={"lr": rate}, reason=words)


def _settle(memory: Memory, tries: dict[str, Any], metric: str) -> list[Decision]:
    """Return the rollback to the end of the best try; none if that is the one that trains."""
    del memory[_KEY]
    results = tries["results"]
    memory["since"] = tries["step"]
    best = min(results, key=lambda result: result[0])
    summary = ", ".join(f"{rate:g}: {_number(loss)}" for loss, rate, _ in results)
    if best[2] is None:
        reason = f"No rate that was tried has a finite {metric}; half of the lowest one."
        lowest = min(rate for _, rate, _ in results)
        return [Rollback(node=tries["node"], values={"lr": lowest / 2}, reason=reason)]
    if best is results[-1]:
        return []
    reason = f"lr {best[1]:g} was best: {metric} by rate {summary}. On from its end."
    return [Rollback(node=best[2], reason=reason)]


def _number(loss: float) -> str:
    return f"{loss:.4g}" if math.isfinite(loss) else "not finite"
