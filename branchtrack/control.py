"""Both ends of the channel between people and a training process: requests, answers, launches.

The asking end validates against what the run itself declared, stores, and waits for the answer.
The training end polls, answers and says that it lives. It knows no trainer, no page, no shell.
"""

from __future__ import annotations

import getpass
import json
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from branchtrack.checkpoints.manifest import Manifest
from branchtrack.checkpoints.packs import Store
from branchtrack.core import interventions, lifecycle
from branchtrack.core.names import as_name, free_name, storable, valid_name
from branchtrack.core.records import Branch, Launch, Node, Request, Segment
from branchtrack.core.resuming import WEIGHTS_ONLY, check_frozen, check_length, check_schedule
from branchtrack.core.settings import (
    BUILT_IN,
    HORIZON,
    LR_SCHEDULER_TYPE,
    Setting,
    declared,
    validate_all,
)
from branchtrack.db import launches, nodes, requests, runs, segments
from branchtrack.db.engine import Database, plain
from branchtrack.errors import (
    CheckpointDamaged,
    CheckpointMissing,
    InvalidInput,
    LaunchFailed,
    NotAnswered,
    NotLive,
)

#: The ways a node can be resumed: its whole state, or its weights alone and all else fresh.
MODES = ("exact", "weights")
_POLL = 0.05
#: Characters of a payload that are kept as it was asked; a message alone may have 2,000.
_LONGEST = 4000


def local_actor() -> str:
    """The operating-system user, as an actor."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown user"


def submit(
    database: Database, branch_ref: str, payload: Mapping[str, Any], *, actor: str, reason: str = ""
) -> Request:
    """Ask the process that trains a branch for an intervention; returns the accepted request.

    Raises:
        NotFound: no such branch. NotLive: nothing trains it. InvalidInput: the payload is not
        valid; the refusal is recorded.
    """
    refusal: InvalidInput | None = None
    with database.transaction() as connection:
        branch = runs.find_branch(connection, branch_ref)
        segment = live_segment(connection, branch)
        try:
            wanted = interventions.parse(payload, declared(segment.declared))
            requested = wanted.model_dump(exclude={"kind"})
        except InvalidInput as error:
            refusal, requested = error, {}
        kind = str(payload.get("kind"))[:32]
        asked = {key: value for key, value in payload.items() if key != "kind"}
        request = requests.add(
            connection, branch, kind=kind, payload=shortened(asked), requested=requested,
            actor=actor, reason=clean_text("reason", reason),
        )  # fmt: skip
        facts: dict[str, Any] = {"error": str(refusal)} if refusal else {}
        state = "rejected" if refusal else "accepted"
        request = requests.move(connection, request.id, state, actor=actor, **facts)
    if refusal is not None:
        raise refusal
    return request


def wait(
    database: Database,
    request_id: str,
    timeout: float = 60.0,
    watch: Callable[[Request], None] | None = None,
) -> Request:
    """Wait until a request has reached an end; ``watch`` is called on every look.

    Raises:
        NotAnswered: ``timeout`` seconds passed. NotLive: the training process is gone.
    """
    deadline = time.monotonic() + timeout
    while True:
        with database.read() as connection:
            request = requests.get(connection, request_id)
            segment = segments.get(connection, request.segment_id or "")
        if request.state in lifecycle.REQUEST_ENDS:
            return request
        if watch is not None:
            watch(request)
        status = lifecycle.segment_status(segment, time.time())
        if status not in lifecycle.LIVE:
            with database.transaction() as connection:
                expire_unanswered(connection, segment.id, local_actor(), f"The run is {status}.")
            raise NotLive(
                f"The training process ended ({status}) before it answered request {request_id}.",
                safe="The request stays recorded; it will not be carried out.",
                fix="Resume a node of the branch to go on.",
                branch=request.branch_id,
                status=status,
            )
        if time.monotonic() > deadline:
            raise NotAnswered(
                f"Request {request_id} is {request.state} and has no answer after {timeout:g} s.",
                safe="It stays recorded and will still be carried out.",
                fix="A long step or evaluation delays answers; look again later.",
                request=request_id,
                waited=timeout,
            )
        time.sleep(_POLL)


def live_segment(connection: Connection, branch: Branch) -> Segment:
    """The segment in which a process trains ``branch`` now.

    Raises:
        NotLive: nothing trains it; says which branches of the run are training.
    """
    current = {
        other.name: segments.get(connection, other.segment_id)
        for other in runs.list_branches(connection, branch.run_id)
        if other.segment_id is not None
    }
    now = time.time()
    statuses = {name: lifecycle.segment_status(found, now) for name, found in current.items()}
    status = statuses.get(branch.name, "empty")
    if status in lifecycle.LIVE:
        return current[branch.name]
    run = runs.get_run(connection, branch.run_id)
    live = [f"{run.name}/{name}" for name, word in statuses.items() if word in lifecycle.LIVE]
    fix = f"`branchtrack tree {run.name}` lists the nodes that can be resumed."
    if status == "waiting":
        fix = "Its process has not begun to train; ask again when it has."
    elif live:
        fix = f"Training now: {', '.join(live)}."
    raise NotLive(
        f"Nothing trains {run.name}/{branch.name} now: it is {status}.",
        safe="Nothing was changed.",
        fix=fix,
        branch=branch.name,
        status=status,
    )


def order_launch(
    database: Database,
    store: Store,
    node_ref: str,
    *,
    actor: str,
    name: str | None = None,
    settings: Mapping[str, Any] | None = None,
    mode: str = "exact",
    reason: str = "",
) -> Launch:
    """Queue a new process that resumes a node with some settings changed, as a new branch.

    Without a ``name`` the branch gets a free one.

    Raises:
        NotFound, InvalidInput, NameTaken: nothing was changed.
        CheckpointMissing, CheckpointDamaged: the node's bytes were read and are not whole.
        LaunchFailed: the run recorded no command that could start it again.
    """
    if mode not in MODES:
        raise InvalidInput("mode", mode, ", ".join(MODES))
    message = clean_text("reason", reason)
    if name is not None:
        valid_name(name)
    with database.read() as connection:
        node = nodes.find(connection, node_ref)
        overrides = validate_overrides(connection, node, settings or {})
        _check_unfinished(node, overrides)
        _check_startable(connection, node)
    manifest = verify_node(database, store, node)
    if "frozen" in overrides:
        check_frozen(overrides["frozen"], [entry.name for entry in manifest.entries])
    if node.kind == "fork" and node.effective is None and node.restored == WEIGHTS_ONLY:
        # Never trained: what it stands for is still its parent's weights and no more.
        mode = "weights"
    with database.transaction() as connection:
        return launches.order(
            connection, node,
            branch_name=suggested_name(connection, node) if name is None else name,
            overrides=overrides, mode=mode, actor=actor, reason=message,
        )  # fmt: skip


def validate_overrides(
    connection: Connection, node: Node, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """The settings of a resume, validated against what the node's own process declared."""
    if not settings:
        return {}
    overrides = validate_all(settings, resume_settings(connection, node))
    check_length(node.step, node.settings, overrides)
    script = segments.get(connection, node.segment_id).script
    return check_schedule(node.settings, overrides, script)


def resume_settings(connection: Connection, node: Node) -> dict[str, Setting]:
    """The settings that a resume of ``node`` may change, by name."""
    rows = segments.get(connection, node.segment_id).declared
    known = declared(rows) or {setting.name: setting for setting in BUILT_IN}
    offered = {name: setting for name, setting in known.items() if name in node.settings}
    # A directive rather than a value in force: it says how another max_steps is meant, where it is
    # not the script that makes the schedule.
    directed = "max_steps" in offered and LR_SCHEDULER_TYPE.name in node.settings
    return offered | ({HORIZON.name: HORIZON} if directed else {})


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


def clean_text(field: str, text: str, limit: int = 2000) -> str:
    """Free text that can be stored: trimmed, no NUL, at most ``limit`` characters."""
    cleaned = storable(text).strip()
    if len(cleaned) > limit:
        raise InvalidInput(field, cleaned, f"at most {limit} characters")
    return cleaned


def shortened(asked: Mapping[str, Any]) -> dict[str, Any]:
    """A payload as asked, cut to what a record can bear where somebody sent very much."""
    text = json.dumps(plain(dict(asked)), default=str)
    return dict(asked) if len(text) <= _LONGEST else {"cut": text[:_LONGEST]}


def poll(database: Database, segment_id: str) -> list[Request]:
    """The requests that wait for the process that trains ``segment_id``, in order of arrival."""
    with database.read() as connection:
        return requests.waiting(connection, segment_id)


def expire_unanswered(connection: Connection, segment_id: str, actor: str, why: str) -> int:
    """End what a closing segment will never answer; returns how many."""
    left = requests.unanswered(connection, segment_id)
    for request in left:
        state = "expired" if request.state == "accepted" else "failed"
        requests.move(connection, request.id, state, actor=actor, error=why)
    return len(left)


def _check_unfinished(node: Node, overrides: Mapping[str, Any]) -> None:
    last = overrides.get("max_steps", node.settings.get("max_steps"))
    if last is not None and node.step >= last:
        raise InvalidInput(
            "node",
            node.id,
            f"a node of that run before step {last}",
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
