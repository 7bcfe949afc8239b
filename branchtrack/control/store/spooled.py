"""Commits that processes made on this machine and could not finish: uploaded, then recorded.

A process that is gone may have left commits whose packs are not in the bucket yet. Whoever comes
next finishes them in order, as commits of its own: the tensors are read back and checked, written
to the bucket in a pack that names the present process (so that no other one takes it for a
leftover), and recorded in one transaction that sees that the branch has not gone on without them.
What does not fit any more is dropped, with a line in the event log of its run.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import Connection, select

from branchtrack import processes
from branchtrack.checkpoints.manifest import Manifest, TensorBytes
from branchtrack.checkpoints.packs import Pack, Store
from branchtrack.checkpoints.remote import spool as spools
from branchtrack.checkpoints.remote.spool import Commit, Elsewhere, Spool
from branchtrack.control import leftovers
from branchtrack.control.store import checkpoints
from branchtrack.core.records import Change, NewNode
from branchtrack.db import audit, nodes, requests, runs, segments
from branchtrack.db.engine import Database
from branchtrack.db.storage import thinning
from branchtrack.db.tables import nodes as node_rows
from branchtrack.errors import CheckpointError, IllegalTransition, InvalidInput, NotFound

logger = logging.getLogger("branchtrack")

_GONE = "tensors that it shares with earlier nodes are not stored any more"
_WENT_ON = "its branch was continued from an earlier node"
_REMOVED = "its branch was removed"
_UNREADABLE = "its record cannot be read"
#: Of a training that has failed only because its last state was not in the bucket when it ended.
_ENDED = "The training has {}, and its final state could not be written yet: "


def end_words(status: str, waiting: str) -> str:
    """Return why a training has failed that is ``finished`` or ``stopped`` once `finish` is done.

    ``waiting`` says what waits and where.
    """
    return _ENDED.format(status) + waiting


def record_of(
    database: str,
    manifest: Manifest,
    new: NewNode,
    answers: Sequence[Mapping[str, Any]],
    actor: str,
    saves: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return as JSON what `finish` needs to record a commit; ``database`` is `leftovers.name_of`.

    ``answers`` are those of the requests that it carries: ``request`` (an id), ``state``,
    ``before``, ``applied``, ``error`` and ``result``.
    """
    node = {**asdict(new), "changes": [change.as_dict() for change in new.changes]}
    return {
        "database": database,
        "manifest": manifest.to_json(),
        "node": node,
        "answers": [dict(answer) for answer in answers],
        "actor": actor,
        "saves": None if saves is None else dict(saves),
    }


def finish(database: Database, store: Store) -> str:
    """Finish what processes that are gone left, and return a sentence on it; empty if nothing.

    Raises:
        StorageError, SchemaError: the database or the bucket failed; the rest is kept.
    """
    if database.read_only:
        return ""
    recorded, reasons = 0, list[str]()
    for spool in spools.abandoned(store.home):
        try:
            for path in spool.read():
                logger.warning("branchtrack: %s cannot be read; it is left there.", path)
            for commit in spool.commits():
                why = _finish(database, store, spool, commit)
                recorded += why == ""
                reasons += [why] if why else []
        finally:
            spool.close()
    if not recorded and not reasons:
        return ""
    dropped = f"; {len(reasons)} dropped: {'; '.join(dict.fromkeys(reasons))}" if reasons else ""
    return (
        "Of commits that processes had left on this machine, "
        f"{recorded} were uploaded to {store.describe()} and are listed{dropped}."
    )


def _finish(database: Database, store: Store, spool: Spool, commit: Commit) -> str | None:
    """Record a commit, or drop it; return why it was dropped, None if it is another database's."""
    record = commit.record
    if record.get("database") != leftovers.name_of(database, store):
        return None
    new, pack = None, None
    try:
        manifest = Manifest.from_json(record["manifest"])
        new = _node(record["node"])
        why, pack = _record(database, store, spool, commit, manifest, new)
    except (TypeError, LookupError, ValueError):
        why = _UNREADABLE
    except CheckpointError as error:
        why = error.what
    if why:
        _log_dropped(database, new, why, str(record.get("actor", "")))
        spool.give_up(commit, store)
    else:
        spool.remove(commit, pack, store)
    return why


def _record(
    database: Database,
    store: Store,
    spool: Spool,
    commit: Commit,
    manifest: Manifest,
    new: NewNode,
) -> tuple[str, Pack | None]:
    """Upload and record a commit; return why that is impossible, and the pack."""
    new = replace(new, state_digest=manifest.digest)
    tensors = spool.tensors(manifest)
    spool.check(tensors)
    owner = leftovers.pack_owner(database, store, processes.own_name())
    while True:
        with database.read() as connection:
            if (why := _standing(connection, new)) is not None:
                return why, None
            absent = checkpoints.absent(connection, store, tensors.keys())
        fresh = [(digest, data) for digest, data in tensors.items() if digest in absent]
        if any(isinstance(content, Elsewhere) for _, content in fresh):
            return _GONE, None
        pack = _put(database, store, fresh, owner) if fresh else None
        with database.transaction() as connection:
            if (why := _standing(connection, new)) is not None:
                return why, pack
            is_named = _add(connection, store, manifest, tensors, pack, new, commit.record)
        if is_named is None:
            continue
        if pack is not None and not is_named:
            store.discard(pack.id)
        return "", pack


def _standing(connection: Connection, new: NewNode) -> str | None:
    """Return None if a commit can be recorded, "" if it is already, else why it cannot be."""
    same = select(node_rows.c.changes, node_rows.c.message).where(
        node_rows.c.segment_id == new.segment_id,
        node_rows.c.step == new.step,
        node_rows.c.kind == new.kind,
        node_rows.c.state_digest == new.state_digest,
    )
    # As the database keeps them.
    changes = json.loads(json.dumps([change.as_dict() for change in new.changes]))
    for row in connection.execute(same):
        if row.message == new.message and row.changes == changes:
            return ""
    try:
        run = runs.get_run(connection, new.run_id)
        branch = runs.get_branch(connection, new.branch_id)
    except NotFound:
        return _REMOVED
    if run.purged_at is not None:
        return _REMOVED
    if branch.segment_id != new.segment_id:
        return _WENT_ON
    if branch.head_id is not None and nodes.get(connection, branch.head_id).step > new.step:
        return _WENT_ON
    return None


def _put(
    database: Database,
    store: Store,
    fresh: Sequence[tuple[str, TensorBytes]],
    owner: Mapping[str, str],
) -> Pack:
    """Write a pack that is named before: if nothing comes of it, the next sweep deletes it.

    The process that finishes may be a command, of which no database ever hears again.
    """
    planned = store.plan(fresh, owner)
    with database.transaction() as connection:
        thinning.lock_store(connection)
        thinning.announce(connection, (planned.id, planned.nbytes))
    return store.put(fresh, owner)


def _add(
    connection: Connection,
    store: Store,
    manifest: Manifest,
    tensors: Mapping[str, TensorBytes],
    pack: Pack | None,
    new: NewNode,
    record: Mapping[str, Any],
) -> bool | None:
    """Add the node; return whether the pack is named, None if tensors were removed meanwhile."""
    try:
        is_named = checkpoints.record(connection, store, manifest, tensors.keys(), pack)
    except checkpoints.Outdated:
        return None
    head = runs.get_branch(connection, new.branch_id).head_id or new.parent_id
    node = nodes.commit(connection, replace(new, parent_id=head))
    if new.kind == "final":
        _complete(connection, new.segment_id, str(record["actor"]))
    for answer in record["answers"]:
        _move(connection, answer, str(record["actor"]), new.step, node.id)
    saves, before = record["saves"], segments.get(connection, new.segment_id).saves
    if saves is not None and (before is None or before["due"] <= saves["due"]):
        segments.count_saves(connection, new.segment_id, saves)
    return is_named


def _complete(connection: Connection, segment_id: str, actor: str) -> None:
    """Give a segment whose last state is recorded now the end that it would have had."""
    error = segments.get(connection, segment_id).error or ""
    for status in ("finished", "stopped"):
        if _ENDED.format(status) in error:
            segments.complete(connection, segment_id, status, actor=actor)


def _move(
    connection: Connection, answer: Mapping[str, Any], actor: str, step: int, node_id: str
) -> None:
    """Answer a request that the commit carries, unless it was ended meanwhile."""
    state = answer["state"]
    carried_out = state in ("applied", "done")
    facts = {name: answer[name] for name in ("before", "error", "applied")}
    facts |= {"result": answer["result"]} if answer["result"] is not None else {}
    try:
        first = "applied" if carried_out else state
        requests.move(
            connection, answer["request"], first, actor=actor, step=step, node_id=node_id, **facts
        )
        if state == "done":
            requests.move(connection, answer["request"], "done", actor=actor)
    except (IllegalTransition, NotFound) as error:
        logger.warning("branchtrack did not answer request %s: %s", answer["request"], error)


def _node(values: Mapping[str, Any]) -> NewNode:
    changes = tuple(Change(**change) for change in values["changes"])
    return NewNode(**{**values, "changes": changes})


def _log_dropped(database: Database, new: NewNode | None, why: str, actor: str) -> None:
    """Write a line about a commit that is dropped into the event log of its run."""
    step = "an unknown step" if new is None else f"step {new.step}"
    logger.warning(
        "branchtrack: a commit at %s that was left on this machine is dropped: %s.", step, why
    )
    if new is None:
        return
    try:
        with database.transaction() as connection:
            runs.get_run(connection, new.run_id)
            audit.append(
                connection,
                new.run_id,
                kind="save",
                ref=new.segment_id,
                state="missed",
                actor=actor or new.actor,
                step=new.step,
                reason=f"It waited for the bucket, and was dropped: {why}.",
            )
    except (NotFound, InvalidInput):
        return
