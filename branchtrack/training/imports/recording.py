"""An imported state recorded as a run: its branch, its ended segment, its curves, its first node.

All of it is one transaction, after the tensors are durable: what is killed before leaves nothing
that is listed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from branchtrack import __version__, processes
from branchtrack.checkpoints.packs import Pack, Store
from branchtrack.control import leftovers
from branchtrack.control.store import checkpoints
from branchtrack.core.names import as_name, free_name
from branchtrack.core.records import NewNode, Node, Run
from branchtrack.db import metrics, runs, segments
from branchtrack.db.engine import Database
from branchtrack.db.storage import thinning
from branchtrack.db.storage.references import WEIGHTS
from branchtrack.errors import NameTaken
from branchtrack.training.imports.folder import Contents
from branchtrack.training.imports.states import State
from branchtrack.training.record import commits, logged_values

Point = tuple[str, int, float, float]


@dataclass(frozen=True)
class Recorded:
    """The run and its first node, and the bytes that were new to the store."""

    run: Run
    node: Node
    new_bytes: int


def record(
    database: Database,
    store: Store,
    contents: Contents,
    state: State,
    name: str,
    actor: str,
    *,
    number_if_taken: bool = True,
) -> Recorded:
    """Store a state and record its run under ``name``, or that with a number if it is taken.

    Raises:
        NameTaken: the name is taken, and is to be no other.
        StorageError: the database or the disk failed; no run is listed.
    """
    if not number_if_taken:
        # Before anything is written for it.
        with database.read() as connection:
            taken = runs.names(connection)
        if name in taken:
            raise NameTaken("run", name, free_name(name, taken))
    digested = commits.digests(state.snapshot)
    owner = leftovers.pack_owner(database, store, processes.own_name())
    while True:
        fresh = commits.missing(database, store, digested)
        pack = store.put(fresh, owner) if fresh else None
        try:
            with database.transaction() as connection:
                thinning.share_store(connection)
                run, node, is_named = _write(
                    connection,
                    store,
                    digested,
                    pack,
                    contents,
                    state,
                    name,
                    actor,
                    number_if_taken,
                )
        except checkpoints.Outdated:
            # A sweep has removed tensors since they were looked up: they are written again.
            if pack is not None:
                store.discard(pack.id)
            continue
        if pack is not None and not is_named:
            store.discard(pack.id)
        return Recorded(run, node, pack.nbytes if pack is not None and is_named else 0)


def points(contents: Contents) -> list[Point]:
    """Return what a Trainer logged up to its checkpoint, as points of metrics.

    Its log has no times: entries get the present one, a millisecond apart to keep them apart.
    """
    return list(_points(contents))


def _points(contents: Contents) -> Iterator[Point]:
    history = contents.counters.get("log_history", [])
    began = time.time() - len(history) / 1e3
    for number, entry in enumerate(history):
        step = entry.get("step")
        if not isinstance(step, int) or not 0 <= step <= contents.step:
            continue
        values, _ = logged_values.numbers({n: v for n, v in entry.items() if n != "step"})
        for name, value in values.items():
            yield name, step, value, began + number / 1e3


def _write(
    connection: Connection,
    store: Store,
    digested: commits.Digested,
    pack: Pack | None,
    contents: Contents,
    state: State,
    name: str,
    actor: str,
    number_if_taken: bool,
) -> tuple[Run, Node, bool]:
    run = runs.create_run(
        connection,
        as_name(name, "run") if number_if_taken else name,
        actor=actor,
        requested_name=name,
        number_if_taken=number_if_taken,
    )
    branch = runs.create_branch(connection, run.id, run.default_branch)
    segment = segments.create(connection, run.id, branch.id, None, contents.step)
    segments.take(
        connection,
        segment.id,
        actor=actor,
        declared=[],
        settings=state.settings,
        max_steps=state.settings.get("max_steps"),
    )
    logged = points(contents)
    metrics.append(connection, segment.id, logged)
    new = _node(run, branch.id, segment.id, contents, state, logged, actor)
    node, is_named = commits.add(connection, store, digested, pack, new)
    if not state.is_complete:
        # There is no more of it: an exact resume is refused, and one of the weights is not.
        thinning.mark(connection, {node.state_digest: WEIGHTS})
    metrics.seal_tails(connection, segment.id)
    segments.end(connection, segment.id, "finished", actor=actor)
    return run, node, is_named


def _node(
    run: Run,
    branch_id: str,
    segment_id: str,
    contents: Contents,
    state: State,
    logged: list[Point],
    actor: str,
) -> NewNode:
    latest: dict[str, float | None] = {
        name: value for name, _step, value, _time in sorted(logged, key=lambda p: p[1])
    }
    return NewNode(
        run_id=run.id,
        branch_id=branch_id,
        segment_id=segment_id,
        parent_id=None,
        step=contents.step,
        epoch=float(contents.counters.get("epoch") or 0.0),
        kind="root",
        state_digest="",
        settings=state.settings,
        param_groups=state.snapshot.param_groups,
        metrics=latest,
        message=f"Imported from {contents.path.name}",
        actor=actor,
        environment=environment(contents),
    )


def environment(contents: Contents) -> dict[str, Any]:
    """Return what is known of the process that made the checkpoint, and what imported it."""
    version = (contents.config or {}).get("transformers_version")
    known = {"transformers": version} if isinstance(version, str) else {}
    return {"branchtrack": __version__, **known}
