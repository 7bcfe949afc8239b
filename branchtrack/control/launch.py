"""Orders to start a process that trains from a node, with every check before they are queued.

It knows no worker and no process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from branchtrack.checkpoints.packs import Store
from branchtrack.control import launch_checks, quota
from branchtrack.control.text import clean_text
from branchtrack.control.verification import verify_node
from branchtrack.core import actors, plain_values, schedules
from branchtrack.core.actors import Actor
from branchtrack.core.builtin_settings import BUILT_IN, declared, validate_all
from branchtrack.core.names import free_name, valid_name
from branchtrack.core.overrides import (
    WEIGHTS_ONLY,
    check_frozen,
    check_length,
    check_mode,
    check_schedule,
    check_schedule_left,
    offered,
)
from branchtrack.core.records import Launch, Node
from branchtrack.core.settings import Setting
from branchtrack.db import nodes, runs, segments
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches
from branchtrack.db.storage import thinning
from branchtrack.errors import (
    CheckpointError,
    Forbidden,
    InvalidInput,
    LaunchFailed,
    NameTaken,
    RateLimited,
)

#: The ways to resume a node: its whole state, or its weights with everything else fresh.
MODES = ("exact", "weights")
#: Errors of an order from a node that exists; for the order of a token they are recorded.
_REFUSALS = (InvalidInput, Forbidden, RateLimited, LaunchFailed, CheckpointError)


def create_launch(
    database: Database,
    store: Store,
    node_ref: str,
    *,
    actor: Actor | str,
    name: str | None = None,
    settings: Mapping[str, Any] | None = None,
    mode: str = "exact",
    reason: str = "",
    worker: str | None = None,
    strict: bool = False,
    environment: dict[str, Any] | None = None,
    entry_point: Mapping[str, Any] | None = None,
) -> Launch:
    """Queue a new process that resumes a node with some settings changed, as a new branch.

    Without a ``name`` the branch gets a free one. ``entry_point`` is the command to start instead
    of the run's own; only the shell may set it and ``environment`` (see `Launch`). With a
    ``worker`` the launch belongs to that worker at once, and no other can claim it. A ``strict``
    launch ends if its first update differs from that of the node's own continuation. An order of a
    token is also recorded as a request of kind ``resume``, refused or not, and counts towards the
    token's limit.

    Raises:
        NotFound, InvalidInput, NameTaken, Forbidden, RateLimited: nothing was changed.
        CheckpointMissing, CheckpointDamaged: the checkpoint of the node is incomplete or damaged.
        LaunchFailed: the run has no command that could start it again.
    """
    database.check_writable()
    message, who = clean_text("reason", reason), actors.of(actor)
    with database.read() as connection:
        node = nodes.find(connection, node_ref)
    order = {"node": node.id, "mode": mode, "name": name, "settings": dict(settings or {})}
    try:
        with database.read() as connection:
            _check_allowed(connection, node, order, who, message)
        overrides, mode, command = check_whole(database, store, node, order, entry_point)
        facts: dict[str, Any] = {"overrides": overrides, "mode": mode, "entry_point": command}
        facts |= {"strict": strict, "environment": environment}
        with database.transaction() as connection:
            # A sweep must see the order, or the order what the sweep has taken away.
            thinning.share_store(connection)
            nodes.check_left(connection, node.state_digest, _need(facts["mode"]))
            launch = _queue(connection, node, order, who, message, facts)
            if worker is None:
                return launch
            return launches.move(connection, launch.id, "starting", who.label, worker=worker)
    except _REFUSALS as error:
        if who.token_id is not None:
            with database.transaction() as connection:
                quota.refuse(connection, node, order, who, message, error)
        raise


def _queue(
    connection: Connection,
    node: Node,
    order: Mapping[str, Any],
    who: Actor,
    reason: str,
    facts: Mapping[str, Any],
) -> Launch:
    """Store a launch, and its request if a token orders it."""
    request = quota.receive(connection, node, order, facts["overrides"], who, reason)
    name = order["name"]
    if name is None:
        name = runs.suggested_name(connection, node)
    launch = launches.order(
        connection, node, branch_name=name, actor=who.label, reason=reason, **facts
    )
    if request is not None:
        quota.finish(connection, request, node, launch)
    return launch


def _check_allowed(
    connection: Connection, node: Node, order: Mapping[str, Any], who: Actor, reason: str
) -> None:
    """Check what costs nothing to check, before any bytes of a checkpoint are read."""
    if order["mode"] not in MODES:
        raise InvalidInput("mode", order["mode"], ", ".join(MODES))
    plain_values.check(order["settings"], "")
    if order["name"] is not None:
        valid_name(order["name"])
    actors.check(who, "launch", ["resume", *order["settings"]])
    actors.check_reason(who, reason)
    quota.check_limit(connection, node, who)


def check_whole(
    database: Database,
    store: Store,
    node: Node,
    order: Mapping[str, Any],
    entry_point: Mapping[str, Any] | None,
) -> tuple[dict[str, Any], str, dict[str, Any] | None]:
    """Check the overrides, mode and other command of a launch, and every byte of its node."""
    with database.read() as connection:
        overrides = _check_settings(connection, node, order["settings"], order["mode"])
        command = launch_checks.startable(connection, node, store.home, entry_point)
    manifest = verify_node(database, store, node, need=_need(order["mode"]))
    check_parts(overrides, [entry.name for entry in manifest.entries])
    return overrides, mode_in_force(node, order["mode"]), command


def _need(mode: str) -> str:
    return "weights" if mode == "weights" else "all"


def validate_launch(
    connection: Connection,
    node: Node,
    settings: Mapping[str, Any],
    mode: str = "exact",
    home: Path | None = None,
) -> dict[str, Any]:
    """Validate the changes of a launch from ``node``, without its bytes, and return them.

    Raises:
        InvalidInput, LaunchFailed: as `create_launch`.
    """
    overrides = _check_settings(connection, node, settings, mode)
    launch_checks.startable(connection, node, home, None)
    return overrides


def check_here(
    connection: Connection, node: Node, settings: Mapping[str, Any], mode: str, name: str | None
) -> dict[str, Any]:
    """Validate the changes of a resume of ``node`` within the requesting process, and return them.

    Raises:
        InvalidInput, NameTaken: as `create_launch`.
    """
    if mode not in MODES:
        raise InvalidInput("mode", mode, ", ".join(MODES))
    if name is not None:
        taken = {branch.name for branch in runs.list_branches(connection, node.run_id)}
        if valid_name(name, "branch") in taken:
            raise NameTaken("branch", name, free_name(name, taken))
    return _check_settings(connection, node, settings, mode)


def mode_in_force(node: Node, mode: str) -> str:
    """Return the mode that applies: a node that was never trained may offer its weights alone."""
    is_fresh = node.kind == "fork" and node.effective is None and node.restored == WEIGHTS_ONLY
    return "weights" if is_fresh else mode


def check_parts(overrides: Mapping[str, Any], tensors: Iterable[str]) -> None:
    """Refuse changes that name tensors which the node does not have.

    Raises:
        InvalidInput: the node has no such tensor.
    """
    if "frozen" in overrides:
        check_frozen(overrides["frozen"], tensors)


def _check_settings(
    connection: Connection, node: Node, settings: Mapping[str, Any], mode: str
) -> dict[str, Any]:
    overrides = validate_overrides(connection, node, settings, mode)
    _check_unfinished(node, overrides, mode)
    return overrides


def validate_overrides(
    connection: Connection, node: Node, settings: Mapping[str, Any], mode: str = "exact"
) -> dict[str, Any]:
    """Validate the settings of a resume against the declarations of the node's process."""
    if not settings:
        return {}
    overrides = validate_all(settings, resume_settings(connection, node))
    check_mode(mode, overrides)
    check_schedule_left(node.step, node.settings, overrides, node.param_groups)
    check_length(node.step, node.settings, overrides, mode)
    script = segments.get(connection, node.segment_id).script
    return check_schedule(node.settings, overrides, script)


def resume_settings(connection: Connection, node: Node) -> dict[str, Setting]:
    """Return the settings that a resume of ``node`` may change, by name."""
    rows = segments.get(connection, node.segment_id).declared
    settings = declared(rows) or {setting.name: setting for setting in BUILT_IN}
    return offered(settings, node.settings)


def _check_unfinished(node: Node, overrides: Mapping[str, Any], mode: str) -> None:
    # With the weights alone, the script sets the number of steps.
    max_steps = node.settings.get("max_steps") if mode == "exact" else None
    last = overrides.get("max_steps", max_steps)
    if last is not None and node.step >= last:
        more = "--set max_steps=N"
        more += " --set horizon=rescale" if schedules.KIND in node.settings else ""
        raise InvalidInput(
            "node",
            node.id,
            f"a node of that run before step {last}, or another end: {more}",
            what=f"Training ends at step {last}, where node {node.id} is: nothing is left to do.",
        )
