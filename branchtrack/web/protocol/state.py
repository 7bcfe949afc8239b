"""The state of a branch as clients of Interactive Training 2 read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from branchtrack.analysis import payloads_steering
from branchtrack.core.records import Branch
from branchtrack.db import nodes, runs
from branchtrack.db.views import branch_stream
from branchtrack.db.views.branch_stream import StoredState
from branchtrack.web.protocol.actions import ACTIONS

_TYPES = {"float": "float", "int": "int", "bool": "bool", "str": "str", "choice": "str"}
#: Their word for how a training ended by itself.
_STATUS = {"finished": "ended", "waiting": "idle", "empty": "idle"}


def state(connection: Connection, branch: Branch) -> dict[str, Any]:
    """Return all of ``GET /state``; ``branch`` is the one that the process trains now."""
    offered = payloads_steering.settings(connection, branch)
    branches = runs.list_branches(connection, branch.run_id)
    names = {each.id: each.name for each in branches}
    stored = branch_stream.checkpoints(connection, list(names))
    return {
        "status": status_of(offered["status"]),
        "goal": None,
        "knobs": knobs(offered["settings"]),
        "actions": _actions(offered),
        "agent": {"attached": False, "active": False},
        "context": "",
        "round": 0,
        "rounds": {},
        "step": offered["step"] or 0,
        "branch_id": branch.name,
        "branches": _branches(connection, branches, names),
        "checkpoints": [checkpoint(each, names[each.branch_id]) for each in stored],
        "model_tree": _model_tree(offered["modules"]),
    }


def status_of(status: str) -> str:
    """Return the status of a branch in the protocol's word."""
    return _STATUS.get(status, status)


def knobs(settings: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the settings that a live run can change and that are single values."""
    return [
        {
            "name": setting["name"],
            "value": setting["value"],
            "dtype": _TYPES[setting["type"]],
            "min": setting["minimum"],
            "max": setting["maximum"],
            "step": None,
            "description": ". ".join(filter(None, (setting["about"], setting["allowed"]))),
        }
        for setting in settings
        if setting["live"] and setting["type"] in _TYPES and setting["value"] is not None
    ]


def checkpoint(record: StoredState, branch: str) -> dict[str, Any]:
    """Return a node as a checkpoint; its path is what `branchtrack export` takes."""
    return {
        "id": record.id,
        "path": record.id,
        "step": record.step,
        "tag": record.message or None,
        "branch_id": branch,
        "ts": record.created_at,
    }


def own_actions(offered: dict[str, Any]) -> tuple[str, ...]:
    """Return the names of the script's own actions that no action of the protocol has."""
    return tuple(each["name"] for each in offered["actions"] if each["name"] not in ACTIONS)


def _actions(offered: dict[str, Any]) -> list[dict[str, Any]]:
    builtin = [
        {"type": name, "description": about, "payload_keys": list(keys)}
        for name, (about, keys) in ACTIONS.items()
        if name != "evaluate" or offered["evaluates"]
    ]
    own = [
        {
            "type": each["name"],
            "description": each["about"],
            "payload_keys": [parameter["name"] for parameter in each["parameters"]],
        }
        for each in offered["actions"]
        if each["name"] not in ACTIONS
    ]
    return builtin + own


def _branches(
    connection: Connection, branches: Sequence[Branch], names: dict[str, str]
) -> list[dict[str, Any]]:
    starts = [branch.start_node_id for branch in branches if branch.start_node_id]
    origin = {node_id: nodes.get(connection, node_id).branch_id for node_id in set(starts)}
    return [
        {
            "id": branch.name,
            "parent": names.get(origin.get(branch.start_node_id or "", "")),
            "from_checkpoint": branch.start_node_id,
            "created_at": branch.created_at,
        }
        for branch in branches
    ]


def _model_tree(modules: Sequence[str] | None) -> dict[str, Any] | None:
    """Return modules as a tree by their paths; None if the process listed none."""
    if not modules:
        return None
    root: dict[str, Any] = {"name": "Model", "module_type": "Model", "children": []}
    by_path = {"": root}
    for path in sorted(modules, key=lambda name: (name.count("."), name)):
        entry = {"name": path, "module_type": "Module", "children": []}
        above = path
        while above not in by_path:
            above = above.rpartition(".")[0]
        by_path[above]["children"].append(entry)
        by_path[path] = entry
    return root
