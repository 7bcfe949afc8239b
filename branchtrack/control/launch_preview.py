"""What an order of branches would do, before it is given: differences, cost, refusals, warnings.

It writes nothing, and knows no page and no terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection

from branchtrack.checkpoints.packs import Store
from branchtrack.control import launch
from branchtrack.control.fan_out import (
    ForkOrder,
    Plan,
    PlannedBranch,
    check_code,
    first_node,
    plan_branches,
)
from branchtrack.control.launch import REFUSALS, CheckedOrder
from branchtrack.control.text import clean_text
from branchtrack.core import actors, restores, schedules
from branchtrack.core.actors import Actor
from branchtrack.core.builtin_settings import RESHUFFLE, SCHEDULER, SEED, STOP_AT
from branchtrack.core.overrides import WEIGHTS_ONLY
from branchtrack.core.queueing import valid_turn
from branchtrack.core.records import Node
from branchtrack.db import nodes, runs, segments
from branchtrack.db.engine import Database
from branchtrack.db.orders import groups, ordering
from branchtrack.db.storage import references
from branchtrack.db.views.identical_branches import identical_branches
from branchtrack.error_payload import error_payload
from branchtrack.errors import BranchtrackError


def preview_launches(
    database: Database,
    store: Store,
    order: ForkOrder,
    *,
    actor: Actor | str,
    reason: str = "",
    entry_point: Mapping[str, Any] | None = None,
    priority: int | None = None,
    labels: Iterable[str] | None = None,
    launcher: dict[str, Any] | None = None,
    retries: int = 0,
    allow_code_change: bool = True,
) -> dict[str, Any]:
    """Return what `fan_out.create_launches` would create; nothing is written.

    The arguments are the same, so that what an order would be refused for is refused here, too.

    The result has ``branches``, ``group`` (or None), ``steps`` in all (None if that of a branch is
    not known) and ``refused``, how many branches are refused. A branch has ``branch`` (its name),
    ``run node step mode overrides relative changes steps max_steps restored identical warnings``
    and ``error`` (as `error_payload`, or None).

    Raises:
        NotFound, InvalidInput, Forbidden, RateLimited, CodeChanged: the order as a whole is
        refused.
    """
    message, who = clean_text("reason", reason), actors.of(actor)
    with database.read() as connection:
        first = first_node(connection, order)
        launch.check_allowed(connection, first, order.fields(first), who, message)
        plan = plan_branches(connection, order)
        names = plan.names(connection)
        if not allow_code_change:
            check_code(connection, plan, entry_point)
        run = runs.get_run(connection, first.run_id)
        group = plan.group and groups.free(connection, run.id, plan.group)
    valid_turn(priority, labels, retries, launcher=launcher)
    known: dict[str, list[str]] = {}
    lines = [
        _branch(database, store, plan, branch, name, entry_point, known)
        for branch, name in zip(plan.branches, names, strict=True)
    ]
    _warn_of_twins(lines)
    counted = [line["steps"] for line in lines if line["error"] is None]
    return {
        "group": group,
        "branches": [{"run": run.name, **line} for line in lines],
        "steps": None if None in counted else sum(counted),
        "refused": sum(line["error"] is not None for line in lines),
    }


def _branch(
    database: Database,
    store: Store,
    plan: Plan,
    branch: PlannedBranch,
    name: str | None,
    entry_point: Mapping[str, Any] | None,
    known: dict[str, list[str]],
) -> dict[str, Any]:
    """Return what one branch would be, or why it is refused."""
    node, fields = branch.node, plan.fields(branch, name)
    error: BranchtrackError | None = None
    checked = CheckedOrder(node, fields, {}, fields["mode"], None, {})
    try:
        checked = launch.check_order(database, store, node, fields, entry_point, known=known)
        with database.read() as connection:
            launch.check_name(connection, node, name)
    except REFUSALS as refusal:
        error = refusal
    with database.read() as connection:
        name = name or runs.suggested_name(connection, node)
        return {
            "branch": name,
            "node": node.id,
            "step": node.step,
            "asked": branch.settings,
            "error": None if error is None else error_payload(error),
            **_outcome(connection, checked, is_refused=error is not None),
        }


def _outcome(connection: Connection, checked: CheckedOrder, is_refused: bool) -> dict[str, Any]:
    """Return the differences to the node, the cost, and what else is worth knowing."""
    node, overrides, mode = checked.node, checked.overrides, checked.mode
    changes = ordering.fork_of(node, overrides, mode, "", "").changes
    identical = [] if is_refused else identical_branches(connection, node, overrides, mode)
    last = _last_step(connection, node, overrides, mode)
    changed = {change.name for change in changes}
    # Redrawn from it, an epoch has another order even if the seed is the node's own.
    changed |= {SEED.name} if overrides.get(RESHUFFLE.name) else set()
    same = [name for name in overrides if name not in changed]
    warnings = [f"{name} already has that value" for name in same]
    warnings += [
        f"the same as {other.name} ({other.status}"
        + ("" if other.best is None else f", best {other.metric} {other.best:.4g}")
        + ")"
        for other in identical
    ]
    if nodes.thinned(connection, node.state_digest) == references.RECIPE:
        warnings.append("its checkpoint was thinned: the worker trains to it again first")
    end = overrides.get(STOP_AT.name, last)
    return {
        "mode": mode,
        "overrides": overrides,
        "relative": checked.relative,
        "changes": [change.as_dict() for change in changes],
        "steps": None if end is None or is_refused else max(0, end - node.step),
        "max_steps": last,
        "restored": {} if is_refused else _restored(node, overrides, mode),
        "identical": [other.as_dict() for other in identical],
        "warnings": warnings,
    }


def _last_step(
    connection: Connection, node: Node, overrides: Mapping[str, Any], mode: str
) -> int | None:
    """Return the step at which training would end; None if only the script knows."""
    if "max_steps" in overrides:
        return int(overrides["max_steps"])
    if mode == "weights":
        return None
    last = node.settings.get("max_steps")
    return last if last is not None else segments.get(connection, node.segment_id).max_steps


def _restored(node: Node, overrides: Mapping[str, Any], mode: str) -> dict[str, str]:
    """Return for each part of the state whether it will be restored, reset or replaced."""
    if mode == "weights":
        return dict(WEIGHTS_ONLY)
    has_scheduler = any(name in node.settings for name in (schedules.KIND, SCHEDULER.name))
    return restores.restored_parts(has_scheduler, overrides)


def _warn_of_twins(lines: list[dict[str, Any]]) -> None:
    """Add a warning to each branch of an order that trains what an earlier one of it trains."""
    first: dict[str, str] = {}
    for line in lines:
        key = repr((line["node"], line["mode"], sorted(line["overrides"].items())))
        if line["error"] is None and first.setdefault(key, line["branch"]) != line["branch"]:
            line["warnings"].append(f"the same as {first[key]} of this order")
