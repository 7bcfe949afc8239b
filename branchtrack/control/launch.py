"""Orders to start a process that trains from a node, with every check before they are queued.

It knows no worker and no process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from branchtrack.checkpoints.packs import Store
from branchtrack.control import code_changes, launch_checks, quota
from branchtrack.control.launch_settings import (
    MODES,
    check_parts,
    check_settings,
    mode_in_force,
    resume_settings,
)
from branchtrack.control.text import clean_text
from branchtrack.control.verification import verify_outline, verify_state
from branchtrack.core import actors, plain_values
from branchtrack.core.actors import Actor
from branchtrack.core.forks.relative_values import may_be_relative, relative_names
from branchtrack.core.names import free_name, valid_name
from branchtrack.core.queueing import valid_turn
from branchtrack.core.records import Launch, Node, Request
from branchtrack.db import nodes, runs
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches, ordering, withdrawals
from branchtrack.db.storage import thinning
from branchtrack.errors import (
    CheckpointError,
    Forbidden,
    InvalidInput,
    LaunchFailed,
    NameTaken,
    RateLimited,
)

#: Errors of an order from a node that exists; for the order of a token they are recorded.
REFUSALS = (InvalidInput, Forbidden, RateLimited, LaunchFailed, CheckpointError)


@dataclass(frozen=True)
class CheckedOrder:
    """An order that may be queued: ``overrides`` and ``mode`` as they apply, and the ``command``.

    ``order`` holds ``node mode name settings`` as they were asked for, ``relative`` those of the
    settings that were relative to the node's. With ``rebuild`` what was thinned is trained
    again first.
    """

    node: Node
    order: dict[str, Any]
    overrides: dict[str, Any]
    mode: str
    command: dict[str, Any] | None
    relative: dict[str, Any]
    rebuild: bool = True

    def named(self, name: str | None) -> CheckedOrder:
        """Return the same order of a branch of another name."""
        return replace(self, order={**self.order, "name": name})


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
    priority: int | None = None,
    labels: Iterable[str] | None = None,
    retries: int = 0,
    allow_code_change: bool = True,
    every_byte: bool = False,
    along: Callable[[Connection, Launch], None] | None = None,
) -> Launch:
    """Queue a new process that resumes a node with some settings changed, as a new branch.

    Without a ``name`` the branch gets a free one. ``entry_point`` is the command to start instead
    of the run's own; only the shell may set it and ``environment`` (see `Launch`). With a
    ``worker`` the launch belongs to that worker at once, and no other can claim it. A ``strict``
    launch ends if its first update differs from that of the node's own continuation. A higher
    ``priority`` is started first, by a worker that has all ``labels``. An order of a token is also
    recorded as a request of kind ``resume``, refused or not, and counts towards the token's limit.

    ``along`` is called with the launch in the transaction that creates it. The content of the
    tensors is checked by the process that loads them; with ``every_byte`` it is checked here too.

    Raises:
        NotFound, InvalidInput, NameTaken, Forbidden, RateLimited: nothing was changed.
        CheckpointMissing, CheckpointDamaged: the checkpoint of the node is incomplete or damaged.
        LaunchFailed: the run has no command that could start it again.
        CodeChanged: code or packages are not those of the node, unless ``allow_code_change``.
    """
    database.check_writable()
    message, who = clean_text("reason", reason), actors.of(actor)
    with database.read() as connection:
        node = nodes.find(connection, node_ref)
    order = {"node": node.id, "mode": mode, "name": name, "settings": dict(settings or {})}
    with recorded_refusal(database, node, order, who, message):
        with database.read() as connection:
            check_allowed(connection, node, order, who, message)
            if not allow_code_change:
                code_changes.check(connection, node, entry_point)
        turn = valid_turn(priority, labels, retries)
        checked = check_order(database, store, node, order, entry_point, every_byte=every_byte)
        facts: dict[str, Any] = {"strict": strict, "environment": environment, **turn}
        with database.transaction() as connection:
            launch = queue(connection, checked, who, message, facts)
            if along is not None:
                along(connection, launch)
            return _claimed(connection, launch, who, worker)


def _claimed(connection: Connection, launch: Launch, who: Actor, worker: str | None) -> Launch:
    if worker is None:
        return launch
    return launches.move(connection, launch.id, "starting", who.label, worker=worker)


@contextmanager
def recorded_refusal(
    database: Database, node: Node, order: Mapping[str, Any], who: Actor, reason: str
) -> Iterator[None]:
    """Record an order of a token that the block refuses; the error is raised again."""
    try:
        yield
    except REFUSALS as error:
        if quota.is_kept(who):
            with database.transaction() as connection:
                quota.refuse(connection, node, order, who, reason, error)
        raise


def queue(
    connection: Connection,
    checked: CheckedOrder,
    who: Actor,
    reason: str,
    facts: Mapping[str, Any],
    request: Request | None = None,
) -> Launch:
    """Store a launch, and its request if a token or an agent orders it.

    ``facts`` as `launches.order`; ``request`` is a proposal of this order that was accepted.

    Raises:
        NameTaken: the run has such a branch. RateLimited: the token's limit is reached.
        CheckpointThinned: a sweep has thinned the node since it was checked.
    """
    node, order = checked.node, checked.order
    # A sweep must see the order, or the order what the sweep has taken away.
    thinning.share_store(connection)
    nodes.check_left(
        connection, node.state_digest, needed_by(checked.mode), rebuild=checked.rebuild
    )
    if request is None:
        request = quota.receive(connection, node, order, checked.overrides, who, reason)
    launch = ordering.order(
        connection,
        node,
        branch_name=order["name"] or runs.suggested_name(connection, node),
        overrides=checked.overrides,
        mode=checked.mode,
        actor=who.label if request is None else request.actor,
        reason=reason,
        entry_point=checked.command,
        relative=checked.relative,
        **facts,
    )
    if request is not None:
        quota.finish(connection, request, node, launch)
    return launch


def check_allowed(
    connection: Connection, node: Node, order: Mapping[str, Any], who: Actor, reason: str
) -> None:
    """Check who orders, and the form of an order, before anything of a checkpoint is read.

    Raises:
        InvalidInput, Forbidden, RateLimited: as `create_launch`.
    """
    if order["mode"] not in MODES:
        raise InvalidInput("mode", order["mode"], ", ".join(MODES))
    plain_values.check(order["settings"], "")
    if order["name"] is not None:
        valid_name(order["name"])
    actors.check(who, "launch", ["resume", *order["settings"]])
    actors.check_reason(who, reason)
    quota.check_limit(connection, node, who)


def check_name(connection: Connection, node: Node, name: str | None) -> None:
    """Check that a branch from a node could be called that now.

    Raises:
        InvalidInput: it is no name. NameTaken: the run has such a branch.
    """
    if name is None:
        return
    taken = runs.branch_names(connection, node.run_id)
    if valid_name(name) in taken and not withdrawals.gives_up_name(connection, node.run_id, name):
        raise NameTaken("branch", name, free_name(name, taken))


def check_order(
    database: Database,
    store: Store,
    node: Node,
    order: dict[str, Any],
    entry_point: Mapping[str, Any] | None,
    *,
    every_byte: bool = False,
    known: dict[str, list[str]] | None = None,
) -> CheckedOrder:
    """Check the settings, the command and the checkpoint of an order.

    ``known`` has the names of the tensors of nodes that were verified before, by id; this node is
    added to them.

    Raises:
        InvalidInput, LaunchFailed, CheckpointError: as `create_launch`.
    """
    with database.read() as connection:
        overrides = check_settings(connection, node, order["settings"], order["mode"])
        command = launch_checks.startable(connection, node, store.home, entry_point)
        names: list[str] = []
        if may_be_relative(order["settings"]):
            names = relative_names(order["settings"], resume_settings(connection, node))
    verified = {} if known is None else known
    mode = mode_in_force(node, order["mode"])
    need = needed_by(mode)
    if node.id not in verified:
        # A worker rebuilds what was thinned; a process that leaves its own state cannot wait.
        verified[node.id] = verify_outline(database, store, node, need=need, rebuild=not every_byte)
        if every_byte:
            verify_state(database, store, node, need=need)
    check_parts(overrides, verified[node.id])
    relative = {name: order["settings"][name] for name in names}
    return CheckedOrder(node, order, overrides, mode, command, relative, not every_byte)


def needed_by(mode: str) -> str:
    """Return how much of a checkpoint a mode needs; see `nodes.check_left`."""
    return "weights" if mode == "weights" else "all"
