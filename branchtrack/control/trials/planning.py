"""What a trial would train: its nodes, its changes, when it is judged. It stores nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from branchtrack.control.launch_settings import default_mode, resume_settings
from branchtrack.core import tree
from branchtrack.core.builtin_settings import SEED
from branchtrack.core.forks import reversal, value_lists
from branchtrack.core.names import as_name, valid_name
from branchtrack.core.queries.directions import is_higher_better
from branchtrack.core.queueing import valid_turn
from branchtrack.core.records import Node
from branchtrack.core.settings import Setting
from branchtrack.core.trials import labels, looks
from branchtrack.core.trials.records import CHANGE, SAME, SETTLED, Arm, Spec
from branchtrack.db import metrics, nodes, segments
from branchtrack.db.orders import launches, trials
from branchtrack.errors import InvalidInput

#: The error that a trial makes at most: a verdict `helps` or `hurts` of a change without effect.
ERROR = 0.05
STEPS, REPEATS = 100, 8
#: What is compared at the end, if nothing else is said: the first that the run has logged.
METRICS = ("eval_loss", "loss")


@dataclass(frozen=True)
class TrialOrder:
    """What is asked for: a change of one state, tried in pairs.

    ``settings`` and ``grid`` as of a fork order: each combination is a change of its own. With
    ``same`` nothing is changed. With ``intervention`` the change is the one that the node made.
    ``margin`` is the largest effect that does not matter, in the metric's unit, or a text such as
    ``0.5%`` of its value at the node. ``name`` is that of the group of its branches. ``command``
    (only the shell may set it), ``priority``, ``labels`` and ``launcher`` are those of its
    launches.
    """

    nodes: Sequence[str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    grid: Mapping[str, Any] = field(default_factory=dict)
    steps: int = STEPS
    repeats: int = REPEATS
    metric: str | None = None
    margin: float | str | None = None
    same: bool = False
    intervention: bool = False
    name: str | None = None
    command: dict[str, Any] | None = None
    priority: int | None = None
    labels: Sequence[str] | None = None
    launcher: dict[str, Any] | None = None


@dataclass(frozen=True)
class PlannedTrial:
    """A trial that could be ordered; ``group`` is the name that the group of its branches gets."""

    spec: Spec
    kind: str
    subject: str | None
    nodes: tuple[Node, ...]
    group: str


def side_settings(spec: Spec, step: int, side: int, seed: int | None) -> dict[str, Any]:
    """Return what a side of a pair (0: the control) changes at a resume of a node at ``step``."""
    changes = spec.control if side == 0 else spec.arms[side - 1].settings
    drawn = {} if seed is None else {SEED.name: seed, "reshuffle": True}
    return {**changes, **drawn, "stop_at": step + spec.steps}


def side_order(spec: Spec, node: Node, side: int, seed: int | None) -> dict[str, Any]:
    """Return the order of a side, as `launch.check_order` takes it."""
    settings = side_settings(spec, node.step, side, seed)
    return {"node": node.id, "mode": default_mode(node), "name": None, "settings": settings}


def updates_left(connection: Connection, node: Node) -> int | None:
    """Return how many updates are left after a node; None if only its script knows."""
    last = node.settings.get("max_steps")
    last = last or segments.get(connection, node.segment_id).max_steps
    return last - node.step if isinstance(last, int) else None


def logged_metrics(connection: Connection, node: Node) -> list[str]:
    """Return the metrics that the segments on the way to a node have logged."""
    starts = nodes.starts(connection, node.run_id)
    spans = tree.lineage(node.segment_id, starts.get)
    return metrics.names(connection, [span.segment for span in spans])


def plan_trial(connection: Connection, order: TrialOrder) -> PlannedTrial:
    """Return the trial that an order stands for; the values of its settings are not checked yet.

    Raises:
        NotFound, Ambiguous: there is no such node.
        InvalidInput: naming what cannot be tried.
    """
    starts = _starts(connection, order)
    subject = starts[0].id if order.intervention else None
    arms, control = _arms(order, resume_settings(connection, starts[0])), dict[str, Any]()
    if order.intervention:
        starts[0], control, arm = _intervention(connection, starts[0])
        arms = [arm]
    check_size(order)
    _check_left(connection, order, starts)
    metric = _metric(connection, order.metric, starts[0])
    is_reseeded = SEED.name in resume_settings(connection, starts[0])
    if not is_reseeded and order.repeats > len(starts) and not order.same:
        raise InvalidInput(
            "repeats",
            order.repeats,
            f"at most {len(starts)}, one for each node: --at NODE,NODE,...",
            what="This run has no seed that a resume could change: repeats would be the same.",
        )
    at = looks.looks(order.repeats)
    spec = Spec(
        nodes=tuple(node.id for node in starts),
        arms=tuple(arms),
        metric=metric,
        steps=order.steps,
        repeats=order.repeats,
        at=at,
        levels=looks.levels(at, ERROR / len(arms)),
        higher_is_better=is_higher_better(metric),
        control=control,
        margin=_margin(connection, order.margin, metric, starts[0]),
        floor=_floor(connection, starts[0].run_id, metric),
        is_reseeded=is_reseeded,
        command=None if order.command is None else dict(order.command),
        launcher=order.launcher,
        **_turn(order),
    )
    kind = SAME if order.same else CHANGE
    names = "-".join(dict.fromkeys(name for arm in arms for name in arm.settings))
    what = arms[0].label if len(arms) == 1 else names
    default = "trial-aa" if order.same else f"trial-{as_name(what, 'change')}"
    return PlannedTrial(spec, kind, subject, tuple(starts), order.name or default[:60])


def _starts(connection: Connection, order: TrialOrder) -> list[Node]:
    if not order.nodes:
        raise InvalidInput("node", "", "one or more nodes")
    starts = [nodes.find(connection, ref) for ref in order.nodes]
    if order.intervention and len(starts) > 1:
        raise InvalidInput("node", order.nodes[1], "one intervention node at a time")
    if order.name is not None:
        valid_name(order.name, "name")
    for number, node in enumerate(starts):
        if node.run_id != starts[0].run_id:
            raise InvalidInput("node", order.nodes[number], "nodes of one run")
        if node.id in {other.id for other in starts[:number]}:
            raise InvalidInput("node", order.nodes[number], "each node once")
        if node.kind == "merge":
            what = f"{node.id} is a merge: it has weights and no whole state to train from."
            raise InvalidInput("node", node.id, "a node with its whole state", what=what)
    return starts


def _arms(order: TrialOrder, declared: Mapping[str, Setting]) -> list[Arm]:
    """Return the changes that an order names."""
    changes = bool(order.settings or order.grid)
    if sum((changes, order.same, order.intervention)) != 1:
        allowed = "exactly one: changes of settings, no change (A/A), or the change of the node"
        raise InvalidInput("settings", dict(order.settings), allowed)
    if not changes:
        return [Arm("nothing changed")] if order.same else []
    if own := [name for name in (*order.settings, *order.grid) if name in labels.OF_TRIALS]:
        raise InvalidInput(own[0], order.settings.get(own[0]), "other settings: a trial sets it")
    grid = value_lists.grid_lists(order.grid, declared)
    return [
        Arm(labels.of_settings(settings), settings)
        for combination in value_lists.combinations(order.settings, grid, declared)
        for settings in [dict(combination.settings)]
    ]


def _turn(order: TrialOrder) -> dict[str, Any]:
    turn = valid_turn(order.priority, order.labels, 0, launcher=order.launcher)
    return {name: turn[name] for name in ("priority", "labels")}


def _intervention(connection: Connection, node: Node) -> tuple[Node, dict[str, Any], Arm]:
    """Return where the change of a node is tried, what takes it back, and the change.

    A fork has the state of its parent, in which its change was not made yet.
    """
    if node.kind == "fork" and node.parent_id is not None and node.changes:
        if launches.mode_of(connection, node.id) == "weights":
            what = f"Fork {node.id} took the weights of its node alone."
            raise InvalidInput("node", node.id, "a fork of a whole state", what=what)
        start = nodes.get(connection, node.parent_id)
        settings = {c.name: c.after for c in node.changes if c.name not in labels.OF_TRIALS}
        return start, {}, Arm(labels.of_node(node), settings)
    try:
        before = reversal.settings_before(node, resume_settings(connection, node))
    except InvalidInput as error:
        allowed = "a node whose own change can be taken back"
        raise InvalidInput("intervention", node.id, allowed, what=error.what) from error
    return node, before, Arm(labels.of_node(node))


def check_size(order: TrialOrder) -> None:
    """Refuse numbers of repeats and updates with which nothing could be tried.

    Raises:
        InvalidInput: naming the one that is refused.
    """
    least = 1 if order.same else looks.FEWEST
    if not isinstance(order.repeats, int) or not least <= order.repeats <= looks.MOST:
        allowed = f"a whole number from {least} to {looks.MOST}"
        raise InvalidInput("repeats", order.repeats, allowed)
    if not isinstance(order.steps, int) or order.steps < 1:
        raise InvalidInput("steps", order.steps, "a whole number of updates, 1 or more")


def check_measure(connection: Connection, order: TrialOrder, node: Node) -> None:
    """Refuse a metric that the run of a node does not have, and a margin that is none.

    Raises:
        InvalidInput: naming the one that is refused.
    """
    metric = _metric(connection, order.metric, node)
    _margin(connection, order.margin, metric, node)


def _check_left(connection: Connection, order: TrialOrder, starts: Sequence[Node]) -> None:
    for node in starts:
        left = updates_left(connection, node)
        if left is not None and order.steps > left:
            raise InvalidInput(
                "steps",
                order.steps,
                f"1 to {left}, or an earlier node" if left > 0 else "an earlier node",
                what=f"Training ends at step {node.step + left:,}: {max(0, left):,} updates are "
                f"left after node {node.id} at step {node.step:,}.",
            )


def _metric(connection: Connection, metric: str | None, node: Node) -> str:
    names = logged_metrics(connection, node)
    if metric is None:
        metric = next((name for name in METRICS if name in names), None)
    if metric is None or metric not in names:
        raise InvalidInput(
            "metric", metric, ", ".join(names) or "a metric that the run has logged before the node"
        )
    return metric


def _margin(
    connection: Connection, margin: float | str | None, metric: str, node: Node
) -> float | None:
    if margin is None:
        return None
    is_share = isinstance(margin, str) and margin.strip().endswith("%")
    # Python reads 1_0 as 10.
    is_plain = "_" not in str(margin)
    allowed = "a number of 0 or more in the unit of the metric, or a share of it such as 0.5%"
    try:
        number = float(str(margin).strip().removesuffix("%"))
    except ValueError:
        raise InvalidInput("margin", margin, allowed) from None
    if not is_plain or not math.isfinite(number) or number < 0:
        raise InvalidInput("margin", margin, allowed)
    if not is_share:
        return number
    value = node.metrics.get(metric)
    if value is None or not math.isfinite(value):
        raise InvalidInput("margin", margin, f"a number: {metric} is not known at {node.id}")
    return abs(value) * number / 100


def _floor(connection: Connection, run_id: str, metric: str) -> float:
    """Return what differs on this run although nothing was changed, as far as it was measured."""
    measured = [
        trial.floor
        for trial in trials.checks_of_run(connection, run_id)
        if trial.state == SETTLED and trial.spec.metric == metric
    ]
    return max((floor or 0.0 for floor in measured), default=0.0)
