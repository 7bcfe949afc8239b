"""Withdrawals: what a launch created is removed again if its process never trained."""

from __future__ import annotations

from sqlalchemy import Connection, or_, select

from branchtrack.core.records import Branch, Launch
from branchtrack.db import audit, nodes, runs, seals, segments
from branchtrack.db.orders.launches import CONTINUE, of_branch
from branchtrack.db.tables import branches, requests
from branchtrack.db.tables import nodes as node_rows
from branchtrack.db.tables import segments as segment_rows

#: Ends of a launch whose branch is removed if nothing was trained on it.
_GIVEN_UP = ("failed", "cancelled")


def is_withdrawn(connection: Connection, launch: Launch) -> bool:
    """Return whether what a launch created was removed again."""
    query = select(segment_rows.c.id).where(segment_rows.c.id == launch.segment_id)
    return connection.execute(query).first() is None


def withdraw(connection: Connection, launch: Launch, actor: str) -> bool:
    """Remove what a failed or cancelled launch created if its process never trained; its row stays.

    Returns False if something else refers to it by now: a request, or a branch that starts there.
    """
    row = connection.execute(select(branches).where(branches.c.id == launch.branch_id)).first()
    if row is None:
        return False
    if launch.kind == CONTINUE:
        return _withdraw_continuation(connection, launch, Branch(**row._mapping), actor)
    if not _never_trained(connection, Branch(**row._mapping)):
        return False
    references = select(requests.c.id).where(
        or_(
            requests.c.branch_id == launch.branch_id,
            requests.c.segment_id == launch.segment_id,
            requests.c.node_id == launch.fork_node_id,
        )
    )
    if connection.execute(references.limit(1)).first() is not None:
        return False
    connection.execute(node_rows.delete().where(node_rows.c.id == launch.fork_node_id))
    connection.execute(segment_rows.delete().where(segment_rows.c.id == launch.segment_id))
    connection.execute(branches.delete().where(branches.c.id == launch.branch_id))
    seals.renew(connection, node_rows, launch.fork_node_id)
    seals.renew(connection, segment_rows, launch.segment_id)
    seals.renew(connection, branches, launch.branch_id)
    audit.append(
        connection,
        launch.run_id,
        kind="branch",
        ref=launch.branch_id,
        state="withdrawn",
        actor=actor,
        payload={"branch": row.name, "launch": launch.id, "node": launch.fork_node_id},
        reason="Its process trained nothing.",
    )
    return True


def _withdraw_continuation(
    connection: Connection, launch: Launch, branch: Branch, actor: str
) -> bool:
    """Give a branch back the segment and the head that it had before a launch continued it."""
    segment = segments.get(connection, launch.segment_id)
    is_untouched = (
        branch.segment_id == segment.id
        and branch.head_id == launch.fork_node_id
        and segment.started_at is None
        and not nodes.children(connection, launch.fork_node_id)
    )
    answered = select(requests.c.id).where(requests.c.segment_id == segment.id).limit(1)
    if not is_untouched or connection.execute(answered).first() is not None:
        return False
    fork = nodes.get(connection, launch.fork_node_id)
    before = (
        select(segment_rows.c.id)
        .where(segment_rows.c.branch_id == branch.id, segment_rows.c.position < segment.position)
        .order_by(segment_rows.c.position.desc())
        .limit(1)
    )
    earlier = {"head_id": fork.parent_id, "segment_id": connection.execute(before).scalar_one()}
    connection.execute(branches.update().where(branches.c.id == branch.id).values(**earlier))
    connection.execute(node_rows.delete().where(node_rows.c.id == fork.id))
    connection.execute(segment_rows.delete().where(segment_rows.c.id == segment.id))
    for table, key in ((branches, branch.id), (node_rows, fork.id), (segment_rows, segment.id)):
        seals.renew(connection, table, key)
    audit.append(
        connection,
        launch.run_id,
        kind="segment",
        ref=segment.id,
        state="withdrawn",
        actor=actor,
        payload={"branch": branch.name, "launch": launch.id, "node": fork.id},
        reason="Its process trained nothing.",
    )
    return True


def give_up_name(connection: Connection, run_id: str, name: str, actor: str) -> None:
    """Free a name whose branch has nothing but a launch that failed at once or was cancelled.

    If something refers to such a branch, it cannot be removed; then it gets another name.
    """
    runs.lock_names(connection, run_id)
    branch = runs.named_branch(connection, run_id, name)
    if branch is None or not _never_trained(connection, branch):
        return
    launch = of_branch(connection, branch.id)
    if launch is None or not withdraw(connection, launch, actor):
        runs.rename_branch(
            connection,
            branch,
            f"{name[:72]}-failed",
            actor=actor,
            reason="Its launch failed before it trained, and its name was requested again.",
        )


def gives_up_name(connection: Connection, run_id: str, name: str) -> bool:
    """Return whether the branch of that name failed before it trained, so that `order` frees it."""
    branch = runs.named_branch(connection, run_id, name)
    return branch is not None and _never_trained(connection, branch)


def _never_trained(connection: Connection, branch: Branch) -> bool:
    launch = of_branch(connection, branch.id)
    if launch is None or launch.state not in _GIVEN_UP or branch.segment_id != launch.segment_id:
        return False
    segment = segments.get(connection, launch.segment_id)
    node_ids = [node.id for node in nodes.of_branch(connection, branch.id)]
    return (
        segment.status in ("failed", "stopped")
        and segment.started_at is None
        and node_ids == [launch.fork_node_id]
        and not nodes.children(connection, launch.fork_node_id)
    )
