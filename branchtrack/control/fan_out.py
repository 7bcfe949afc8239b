"""Orders of several branches: one for each of some values, of a grid, or of some nodes.

All are checked before any is queued, and all are queued in one transaction. It knows no worker and
no process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from branchtrack.checkpoints.packs import Store
from branchtrack.control import code_changes, launch
from branchtrack.control.launch import CheckedOrder, check_allowed
from branchtrack.control.launch_settings import default_mode, resume_settings
from branchtrack.control.text import clean_text
from branchtrack.core import actors
from branchtrack.core.actors import Actor
from branchtrack.core.forks import reversal, value_lists
from branchtrack.core.names import as_name, valid_name
from branchtrack.core.queueing import valid_turn
from branchtrack.core.records import Launch, Node
from branchtrack.db import nodes, runs
from branchtrack.db.engine import Database
from branchtrack.db.orders import groups, launches
from branchtrack.errors import InvalidInput


@dataclass(frozen=True)
class ForkOrder:
    """What is asked for: one branch for each node, with each combination of the settings.

    ``settings`` and ``grid`` as in `core.forks.value_lists`; a grid's values are a list, or text
    with commas. ``name`` is the branch's, or the beginning of the names of several. Several
    branches are grouped under ``group``. Without a ``mode`` each node has its own default.
    ``without_change``: as if the change of the node had not been made.
    """

    nodes: Sequence[str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    grid: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None
    group: str | None = None
    mode: str | None = None
    without_change: bool = False

    def fields(self, node: Node) -> dict[str, Any]:
        """Return the whole order as one from ``node``, as `launch.check_allowed` takes it."""
        settings = {**self.settings, **self.grid}
        mode = self.mode_of(node)
        return {"node": node.id, "mode": mode, "name": self.name, "settings": settings}

    def mode_of(self, node: Node) -> str:
        """Return the mode in which a node is resumed."""
        return default_mode(node) if self.mode is None else self.mode


@dataclass(frozen=True)
class PlannedBranch:
    """One branch of an order: where it starts, its settings, and the words that name it."""

    node: Node
    settings: dict[str, Any]
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """The branches of an order, all of one run; ``group`` is None for a branch by itself."""

    order: ForkOrder
    branches: tuple[PlannedBranch, ...]
    group: str | None
    kind: str

    @property
    def stem(self) -> str:
        """The beginning of the branches' names: that of a change which several nodes get."""
        is_one_change = len({branch.labels[1:] for branch in self.branches}) == 1
        default = self.group if self.kind == "horizons" and is_one_change else None
        return self.order.name or default or ""

    def names(self, connection: Connection) -> list[str | None]:
        """Return the name of each branch; None for a single one that gets any free name."""
        if len(self.branches) == 1:
            return [self.order.name]
        run_id = self.branches[0].node.run_id
        taken = runs.branch_names(connection, run_id)
        labels = [branch.labels for branch in self.branches]
        return [*value_lists.branch_names(self.stem, labels, taken)]

    def fields(self, branch: PlannedBranch, name: str | None) -> dict[str, Any]:
        """Return the order of one branch, as `launch.check_order` takes it."""
        mode = self.order.mode_of(branch.node)
        return {"node": branch.node.id, "mode": mode, "name": name, "settings": branch.settings}


def create_launches(
    database: Database,
    store: Store,
    order: ForkOrder,
    *,
    actor: Actor | str,
    reason: str = "",
    entry_point: Mapping[str, Any] | None = None,
    priority: int | None = None,
    labels: Iterable[str] | None = None,
    retries: int = 0,
    allow_code_change: bool = True,
    order_id: str | None = None,
    launcher: dict[str, Any] | None = None,
    **facts: Any,
) -> list[Launch]:
    """Queue a launch for each branch of an order, or none if one of them is refused.

    The arguments as in `launch.create_launch`; ``facts`` are ``strict`` and ``environment``;
    ``launcher`` carries them out if no worker of this home does, see `launchers.profiles`.
    What was ordered under an ``order_id`` before is returned as it is: it becomes the id of the
    group, or of the only launch.

    Raises:
        NotFound, InvalidInput, NameTaken, Forbidden, RateLimited, CheckpointMissing,
        CheckpointDamaged, LaunchFailed, CodeChanged: nothing was changed.
    """
    database.check_writable()
    message, who = clean_text("reason", reason), actors.of(actor)
    with database.read() as connection:
        if earlier := launches.of_order(connection, order_id):
            return earlier
        first = first_node(connection, order)
    with launch.recorded_refusal(database, first, order.fields(first), who, message):
        with database.read() as connection:
            check_allowed(connection, first, order.fields(first), who, message)
            plan = plan_branches(connection, order)
            names = plan.names(connection)
            if not allow_code_change:
                check_code(connection, plan, entry_point)
        facts |= valid_turn(priority, labels, retries, launcher=launcher)
        facts["launcher"] = launcher
        checked = check_branches(database, store, plan, names, entry_point)
        with database.transaction() as connection:
            return _queue_all(connection, plan, checked, who, message, facts, order_id)


def first_node(connection: Connection, order: ForkOrder) -> Node:
    """Return the first node of an order.

    Raises:
        NotFound, Ambiguous, InvalidInput: there is no such node, or none at all.
    """
    if not order.nodes:
        raise InvalidInput("node", "", "one or more nodes")
    return nodes.find(connection, order.nodes[0])


def plan_branches(connection: Connection, order: ForkOrder) -> Plan:
    """Return the branches that an order stands for; their settings are not validated yet.

    Raises:
        NotFound, InvalidInput: there is no such node, nodes of several runs, lists that cannot be
        combined, or too many branches.
    """
    if order.group is not None:
        valid_name(order.group, "group")
    starts = [nodes.find(connection, ref) for ref in order.nodes]
    _check_nodes(order, starts)
    declared = resume_settings(connection, starts[0])
    grid = value_lists.grid_lists(order.grid, declared)
    combinations = value_lists.combinations(order.settings, grid, declared)
    value_lists.check_count(len(combinations) * len(starts))
    several = len(starts) > 1
    branches = tuple(
        PlannedBranch(*_start(connection, node, combination.settings, order), labels)
        for node in starts
        for combination in combinations
        for labels in [
            (*([f"at-{node.step}"] if several else []), *filter(None, [combination.words]))
        ]
    )
    kind = "horizons" if several else "grid" if order.grid else "values"
    varying = combinations[0].varying or tuple(combinations[0].settings)
    default = order.name or as_name("-".join(varying), "fork")
    is_group = order.group is not None or len(branches) > 1
    return Plan(order, branches, (order.group or default) if is_group else None, kind)


def check_code(connection: Connection, plan: Plan, entry_point: Mapping[str, Any] | None) -> None:
    """Refuse a plan of which a node would be continued by other code than its own.

    Raises:
        CodeChanged: with the difference, of the first such node.
    """
    for node in {branch.node.id: branch.node for branch in plan.branches}.values():
        code_changes.check(connection, node, entry_point)


def check_branches(
    database: Database,
    store: Store,
    plan: Plan,
    names: Sequence[str | None],
    entry_point: Mapping[str, Any] | None = None,
) -> list[CheckedOrder]:
    """Check every branch of a plan, and return them; a node that several start at once only.

    Raises:
        InvalidInput, CheckpointError, LaunchFailed: of the first that is refused.
    """
    manifests: dict[str, list[str]] = {}
    return [
        launch.check_order(
            database, store, branch.node, plan.fields(branch, name), entry_point, known=manifests
        )
        for branch, name in zip(plan.branches, names, strict=True)
    ]


def _queue_all(
    connection: Connection,
    plan: Plan,
    checked: Sequence[CheckedOrder],
    who: Actor,
    reason: str,
    facts: dict[str, Any],
    order_id: str | None,
) -> list[Launch]:
    run_id = plan.branches[0].node.run_id
    runs.lock_names(connection, run_id)
    # The same order may have come twice at once.
    if earlier := launches.of_order(connection, order_id):
        return earlier
    facts = {**facts, "group": None}
    if plan.group is None:
        facts["launch_id"] = order_id
    else:
        manner: dict[str, Any] = {"actor": who.label, "reason": reason, "group_id": order_id}
        facts["group"] = groups.create(connection, run_id, plan.group, plan.kind, **manner)
    # Another process may have taken a name since.
    names = plan.names(connection)
    return [
        launch.queue(connection, order.named(name), who, reason, facts)
        for order, name in zip(checked, names, strict=True)
    ]


def _start(
    connection: Connection, node: Node, settings: dict[str, Any], order: ForkOrder
) -> tuple[Node, dict[str, Any]]:
    """Return where a branch starts and its settings, with the node's change taken back if asked."""
    if not order.without_change:
        return node, settings
    if node.kind == "fork" and node.parent_id is not None and node.changes:
        # It has the state of its parent.
        return nodes.get(connection, node.parent_id), settings
    before = reversal.settings_before(node, resume_settings(connection, node))
    return node, {**before, **settings}


def _check_nodes(order: ForkOrder, starts: Sequence[Node]) -> None:
    seen: set[str] = set()
    for ref, node in zip(order.nodes, starts, strict=True):
        if node.id in seen:
            raise InvalidInput("node", ref, "each node once")
        if node.run_id != starts[0].run_id:
            raise InvalidInput("node", ref, "nodes of one run")
        seen.add(node.id)
