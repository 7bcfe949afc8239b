"""Orders to start a process that trains from a node: everything looked at before it is queued.

It knows no worker and no process.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from branchtrack.checkpoints.manifest import Manifest
from branchtrack.checkpoints.packs import Store
from branchtrack.control import tokened
from branchtrack.control.texts import clean_text
from branchtrack.core import actors, schedules
from branchtrack.core.actors import Actor
from branchtrack.core.names import as_name, free_name, valid_name
from branchtrack.core.records import Launch, Node
from branchtrack.core.resuming import (
    WEIGHTS_ONLY,
    check_frozen,
    check_length,
    check_mode,
    check_schedule,
    check_schedule_left,
    offered,
)
from branchtrack.core.settings import (
    BUILT_IN,
    Setting,
    declared,
    validate_all,
)
from branchtrack.db import launches, nodes, runs, segments
from branchtrack.db.engine import Database
from branchtrack.errors import (
    CheckpointDamaged,
    CheckpointError,
    CheckpointMissing,
    Forbidden,
    InvalidInput,
    LaunchFailed,
    RateLimited,
)

#: The ways a node can be resumed: its whole state, or its weights alone and all else fresh.
MODES = ("exact", "weights")
#: What may be wrong with an order from a node that exists; that of a token is recorded.
_REFUSALS = (InvalidInput, Forbidden, RateLimited, LaunchFailed, CheckpointError)


def order_launch(
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
) -> Launch:
    """Queue a new process that resumes a node with some settings changed, as a new branch.

    Without a ``name`` the branch gets a free one. With a ``worker`` the launch is that one's at
    once, and no other can claim it. A ``strict`` one ends where its first update is not that of
    the node's own continuation. ``environment`` (see `Launch`) is for whoever types commands on
    this machine, never for a request. What a token orders is recorded as a request of kind
    ``resume`` besides, refused or not, and counts towards the token's limit.

    Raises:
        NotFound, InvalidInput, NameTaken, Forbidden, RateLimited: nothing was changed.
        CheckpointMissing, CheckpointDamaged: the node's bytes were read and are not whole.
        LaunchFailed: the run recorded no command that could start it again.
    """
    database.check_writable()
    message, who = clean_text("reason", reason), actors.of(actor)
    with database.read() as connection:
        node = nodes.find(connection, node_ref)
    asked = {"node": node.id, "mode": mode, "name": name, "settings": dict(settings or {})}
    try:
        with database.read() as connection:
            _check_allowed(connection, node, asked, who, message)
        overrides, mode = _check_whole(database, store, node, asked)
        with database.transaction() as connection:
            request = tokened.receive(connection, node, asked, overrides, who, message)
            launch = launches.order(
                connection, node,
                branch_name=suggested_name(connection, node) if name is None else name,
                overrides=overrides, mode=mode, actor=who.label, reason=message, strict=strict,
                environment=environment,
            )  # fmt: skip
            if request is not None:
                tokened.finish(connection, request, node, launch)
            if worker is None:
                return launch
            return launches.move(connection, launch.id, "starting", who.label, worker=worker)
    except _REFUSALS as error:
        if who.token_id is not None:
            with database.transaction() as connection:
                tokened.refuse(connection, node, asked, who, message, error)
        raise


def _check_allowed(
    connection: Connection, node: Node, asked: Mapping[str, Any], who: Actor, reason: str
) -> None:
    """What costs nothing to look at, before bytes are read for anybody."""
    if asked["mode"] not in MODES:
        raise InvalidInput("mode", asked["mode"], ", ".join(MODES))
    if asked["name"] is not None:
        valid_name(asked["name"])
    actors.check(who, "launch", ["resume", *asked["settings"]], reason)
    tokened.check_limit(connection, node, who)


def _check_whole(
    database: Database, store: Store, node: Node, asked: Mapping[str, Any]
) -> tuple[dict[str, Any], str]:
    """The overrides and the mode of a launch, its settings and every byte of its node looked at."""
    with database.read() as connection:
        overrides = check_order(connection, node, asked["settings"], asked["mode"])
    manifest = verify_node(database, store, node)
    if "frozen" in overrides:
        check_frozen(overrides["frozen"], [entry.name for entry in manifest.entries])
    if node.kind == "fork" and node.effective is None and node.restored == WEIGHTS_ONLY:
        # Never trained: what it stands for is still its parent's weights and no more.
        return overrides, "weights"
    return overrides, asked["mode"]


def check_order(
    connection: Connection, node: Node, settings: Mapping[str, Any], mode: str = "exact"
) -> dict[str, Any]:
    """The changes of a launch from ``node``, validated, its bytes apart.

    Raises:
        InvalidInput, LaunchFailed: as `order_launch`.
    """
    overrides = validate_overrides(connection, node, settings, mode)
    _check_unfinished(node, overrides, mode)
    _check_startable(connection, node)
    return overrides


def validate_overrides(
    connection: Connection, node: Node, settings: Mapping[str, Any], mode: str = "exact"
) -> dict[str, Any]:
    """The settings of a resume, validated against what the node's own process declared."""
    if not settings:
        return {}
    overrides = validate_all(settings, resume_settings(connection, node))
    check_mode(mode, overrides)
    check_schedule_left(node.step, node.settings, overrides, node.param_groups)
    check_length(node.step, node.settings, overrides, mode)
    script = segments.get(connection, node.segment_id).script
    return check_schedule(node.settings, overrides, script)


def resume_settings(connection: Connection, node: Node) -> dict[str, Setting]:
    """The settings that a resume of ``node`` may change, by name."""
    rows = segments.get(connection, node.segment_id).declared
    known = declared(rows) or {setting.name: setting for setting in BUILT_IN}
    return offered(known, node.settings)


def suggested_name(connection: Connection, node: Node) -> str:
    """A free name for a branch that starts at ``node``."""
    parent = runs.get_branch(connection, node.branch_id).name
    taken = {branch.name for branch in runs.list_branches(connection, node.run_id)}
    return free_name(as_name(parent, "branch"), taken)


def verify_node(
    database: Database,
    store: Store,
    node: Node,
    progress: Callable[[int, int], None] | None = None,
) -> Manifest:
    """Read every byte of a node's checkpoint and compare the digests; returns its manifest.

    ``progress`` is given bytes done and bytes in all.

    Raises:
        CheckpointMissing, CheckpointDamaged: with the file and the tensor.
    """
    with database.read() as connection:
        stored = nodes.checkpoint(connection, node.state_digest)
    manifest = Manifest.from_json(stored.manifest)
    if manifest.digest != node.state_digest:
        raise CheckpointDamaged(
            f"The manifest of node {node.id} does not have the node's state digest.",
            safe="Other nodes are untouched.",
            fix="Resume from another node.",
            node=node.id,
            path="database",
            tensor="",
        )
    for problem in store.verify(stored.locations.values(), progress):
        kind = CheckpointDamaged if Path(problem.path).exists() else CheckpointMissing
        raise kind(
            f"Node {node.id} cannot be restored: {problem.what}",
            safe="Nothing was changed; nodes that share no bytes with it are untouched.",
            fix="Resume from another node; `branchtrack verify --all` lists which are whole.",
            node=node.id,
            path=problem.path,
            tensor=problem.location.name,
        )
    return manifest


def _check_unfinished(node: Node, overrides: Mapping[str, Any], mode: str) -> None:
    # With the weights alone the script says how many steps follow.
    given = node.settings.get("max_steps") if mode == "exact" else None
    last = overrides.get("max_steps", given)
    if last is not None and node.step >= last:
        more = "--set max_steps=N"
        more += " --set horizon=rescale" if schedules.KIND in node.settings else ""
        raise InvalidInput(
            "node",
            node.id,
            f"a node of that run before step {last}, or another end: {more}",
            what=f"Training ends at step {last}, where node {node.id} is: nothing is left to do.",
        )


def what_is_gone(entry_point: Mapping[str, Any] | None) -> str:
    """What a run's command lacks on this machine, in a sentence; empty where nothing does."""
    argv = list((entry_point or {}).get("argv") or ())
    if not argv:
        return (
            "The run recorded no command that could start it again "
            "(it was trained in an interactive session)."
        )
    folder = Path(str((entry_point or {}).get("cwd") or "."))
    if not folder.is_dir():
        return f"The folder {folder} in which the run was trained is gone."
    script = folder / argv[1] if len(argv) > 1 else folder
    if script.suffix == ".py" and not script.is_file():
        return f"The script {script} that trained the run is gone."
    return ""


def _check_startable(connection: Connection, node: Node) -> None:
    entry_point = runs.get_run(connection, node.run_id).entry_point
    # Another machine's files are for its own worker to find.
    here = segments.get(connection, node.segment_id).host in (None, socket.gethostname())
    gone = what_is_gone(entry_point) if here or not entry_point else ""
    if gone:
        raise LaunchFailed(
            gone,
            safe="Nothing was changed.",
            fix="Put the training in a script that stays where it is.",
            launch=None,
            exit_code=None,
            log=None,
        )
