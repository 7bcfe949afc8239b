"""Orders of launches: branch, waiting segment, fork node and launch in one transaction.

So a name that is taken is detected before anything exists.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from branchtrack.core.builtin_settings import DIRECTIVES
from branchtrack.core.names import new_id, valid_name
from branchtrack.core.overrides import WEIGHTS_ONLY
from branchtrack.core.records import Branch, Change, Group, Launch, NewNode, Node, Segment
from branchtrack.db import audit, nodes, runs, segments
from branchtrack.db.orders import groups, withdrawals
from branchtrack.db.orders.launches import CONTINUE, get, log
from branchtrack.db.tables import launches


def order(
    connection: Connection,
    node: Node,
    *,
    branch_name: str,
    overrides: dict[str, Any],
    mode: str,
    actor: str,
    reason: str,
    labels: Sequence[str] | None = None,
    group: Group | None = None,
    **facts: Any,
) -> Launch:
    """Queue a process that resumes ``node`` with ``overrides`` as a new branch.

    ``facts`` are ``strict environment entry_point priority retries relative launch_id launcher``:
    ``entry_point`` is the command to start, if it is not the run's own. A higher ``priority`` is
    started first (None: 0), by a worker that has all ``labels``, and again after a crash as often
    as ``retries`` says. ``group`` is what the branch belongs to. ``relative`` has those overrides
    as they were asked for, relative to the node's values. ``launch_id`` is the order's choice,
    ``launcher`` what carries it out if no worker of this home does.

    A branch of that name whose own launch failed before it trained gives up its name.

    Raises:
        InvalidInput: the branch's name is not valid. NameTaken: the run has such a branch.
        NotFound: the node was deleted since it was read.
    """
    valid_name(branch_name)
    withdrawals.give_up_name(connection, node.run_id, branch_name, actor)
    nodes.check_listed(connection, [node.id])
    branch = runs.create_branch(connection, node.run_id, branch_name, node.id)
    if group is not None:
        branch = groups.add_branch(connection, group, branch)
    segment = segments.create(connection, node.run_id, branch.id, node.id, node.step)
    planned = fork_of(node, overrides, mode, actor, reason)
    fork = nodes.commit(connection, replace(planned, branch_id=branch.id, segment_id=segment.id))
    return add(
        connection,
        fork,
        node_id=node.id,
        mode=mode,
        overrides=overrides,
        actor=actor,
        reason=reason,
        branch=branch_name,
        labels=sorted(labels) if labels else None,
        group_id=None if group is None else group.id,
        **{"strict": False, **facts},
    )


def order_continuation(
    connection: Connection,
    branch: Branch,
    last: Segment,
    head: Node,
    *,
    overrides: dict[str, Any],
    mode: str,
    actor: str,
    reason: str,
    **facts: Any,
) -> Launch:
    """Queue a process that goes on in a branch from its ``head``, after its ``last`` segment.

    Raises:
        BranchTaken: another process has continued the branch since it was read.
        NotFound: the branch was deleted since then.
    """
    audit.lock(connection, branch.run_id)
    nodes.check_listed(connection, [head.id])
    segment = segments.follow(connection, branch, last, head, actor=actor)
    planned = fork_of(head, overrides, mode, actor, reason)
    fork = nodes.commit(connection, replace(planned, branch_id=branch.id, segment_id=segment.id))
    return add(
        connection,
        fork,
        node_id=head.id,
        kind=CONTINUE,
        mode=mode,
        overrides=overrides,
        actor=actor,
        reason=reason,
        branch=branch.name,
        strict=False,
        **facts,
    )


def add(
    connection: Connection,
    fork: Node,
    *,
    actor: str,
    relative: Mapping[str, Any] | None = None,
    launch_id: str | None = None,
    **facts: Any,
) -> Launch:
    """Queue a launch whose process begins at ``fork``; ``facts`` are columns of its row.

    ``relative`` and ``launch_id`` as in `order`.
    """
    now, launch_id = time.time(), launch_id or new_id()
    connection.execute(
        launches.insert().values(
            id=launch_id,
            run_id=fork.run_id,
            fork_node_id=fork.id,
            branch_id=fork.branch_id,
            segment_id=fork.segment_id,
            actor=actor,
            state="queued",
            created_at=now,
            updated_at=now,
            **facts,
        )
    )
    launch = get(connection, launch_id)
    log(connection, launch, actor, relative)
    return launch


def fork_of(node: Node, overrides: dict[str, Any], mode: str, actor: str, reason: str) -> NewNode:
    """Return the fork node that a resume of ``node`` begins with, still without a branch.

    With the weights alone the script's own values apply, so that one equal to the node's changes
    something, too.
    """
    changes = tuple(
        Change(name, node.settings.get(name), value)
        for name, value in overrides.items()
        if mode == "weights" or node.settings.get(name) != value
    )
    return NewNode(
        run_id=node.run_id,
        branch_id="",
        segment_id="",
        parent_id=node.id,
        step=node.step,
        epoch=node.epoch,
        kind="fork",
        state_digest=node.state_digest,
        settings={**node.settings, **_in_force(overrides)},
        param_groups=node.param_groups,
        changes=changes,
        metrics=node.metrics,
        message=reason,
        actor=actor,
        environment=node.environment,
        restored=dict(WEIGHTS_ONLY) if mode == "weights" else None,
    )


def _in_force(overrides: dict[str, Any]) -> dict[str, Any]:
    """Return the overrides without directives, which are not values in force."""
    return {name: value for name, value in overrides.items() if name not in DIRECTIVES}
