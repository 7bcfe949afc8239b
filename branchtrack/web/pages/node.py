"""One node: what changed, the values in use, the effect that was read back, and the checkpoint."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response
from sqlalchemy import Connection

from branchtrack.checkpoints.packs import Store
from branchtrack.core import lifecycle, restores
from branchtrack.core.builtin_settings import declared as by_name
from branchtrack.core.forks import reversal
from branchtrack.core.formats import as_number, exact_setting
from branchtrack.core.overrides import offered
from branchtrack.core.records import Branch, Event, Node, Request, StoredCheckpoint
from branchtrack.core.settings import Setting
from branchtrack.db import nodes
from branchtrack.db.views import tree_nodes, tree_outline
from branchtrack.db.views.tree_nodes import Lineage, TreeNodes
from branchtrack.db.views.tree_outline import NodeSummary
from branchtrack.web.rendering import now, respond
from branchtrack.web.services import services
from branchtrack.web.view import node_rows, request_lines
from branchtrack.web.view.tree import TreeView, change_words, standing_nodes

blueprint = Blueprint("node", __name__)
#: Values read back along with the settings; of each optimizer if there are several.
_MEASURED = {
    "lr_now": "effective learning rate: the base times where the schedule stands",
    "momentum_now": "effective momentum: where the schedule's cycle stands",
    "betas_now": "effective betas: the first is where the schedule's cycle stands",
    "grad_norm": "norm of the gradients as the optimizer saw them",
}


@dataclass(frozen=True)
class SettingRow:
    """A setting of the node, its value at the parent, and the value that the next update used.

    ``since`` is the step of the change, if it is not the node's. ``from_script``: the node took the
    weights alone, and its script sets the value.
    """

    name: str
    value: Any
    before: Any
    changed: bool
    used: Any
    held: bool | None
    about: str
    unit: str
    from_script: bool
    since: int | None


@dataclass(frozen=True)
class FileRow:
    """A pack that the checkpoint needs, the number of its tensors there, and if it exists."""

    name: str
    tensors: int
    nbytes: int
    present: bool


@dataclass(frozen=True)
class PartRow:
    """The tensors of one part of the state, together."""

    role: str
    tensors: int
    nbytes: int


@dataclass(frozen=True)
class Step:
    """An entry of the breadcrumb: a node where the line changed branches or settings."""

    node: NodeSummary
    branch: Branch
    words: str
    skipped: int


@blueprint.get("/nodes/<node_id>")
def show(node_id: str) -> Response:
    """Return the page of a node."""
    with services().database.read() as connection:
        node = nodes.find(connection, node_id)
        view, lineage = _tree(connection, node)
        stored = nodes.checkpoint(connection, node.state_digest, need="record")
        requests, audit = tree_outline.history(connection, node)
    requests, audit = _refreshed(node, view, requests, audit)
    branch = view.by_branch[node.branch_id]
    segment = view.outline.segments.get(node.segment_id)
    parent = view.by_id.get(node.parent_id or "")
    offered_settings = offered(by_name(segment.declared if segment else []), node.settings)
    return respond(
        "node/index.html",
        node=node,
        run=view.run,
        branch=branch,
        parent=parent,
        merged=_merged(view, node),
        parent_branch=view.by_branch[parent.branch_id] if parent else None,
        crumbs=_crumbs(view, lineage.lines[node.id]),
        children=_children(view, node),
        settings=_settings(node, by_name(segment.declared if segment else [])),
        proofs=node_rows.proofs(node.changes, node.effective),
        measured=_measured(node),
        notes=_MEASURED,
        metrics=_metrics(node, parent),
        stored=stored,
        files=_files(services().store, stored),
        parts=_parts(stored),
        requests=requests,
        audit=audit,
        described={item.id: request_lines.describe_request(item) for item in requests},
        command=_command(node),
        others=[item for item in view.branches if item.branch.id != branch.branch.id],
        restore=restores.sentence(node.compared) if node.compared else "",
        is_reversible=reversal.is_reversible(node, offered_settings),
        is_last=branch.branch.head_id == node.id,
        ended=branch.status not in lifecycle.LIVE,
        certified=branch.certified,
        live=view.live,
    )


def _refreshed(
    node: Node, view: TreeView, requests: list[Request], audit: list[Event]
) -> tuple[list[Request], list[Event]]:
    """Return a node's history, reloaded if it had requests that will never be answered."""
    seen: list[list[Event]] = [audit]

    def reload() -> list[Request]:
        with services().database.read() as connection:
            listed, events = tree_outline.history(connection, node)
        seen.append(events)
        return listed

    refreshed = request_lines.refresh_if_orphaned(
        services().database, requests, view.outline.segments, view.now, reload
    )
    return list(refreshed), seen[-1]


def _tree(connection: Connection, node: Node) -> tuple[TreeView, Lineage]:
    """Return the run's branches, and of its nodes those above and below this one."""
    outline = tree_outline.trees(connection, [node.run_id], brief=True)[node.run_id]
    lineage = tree_nodes.lineage(
        connection,
        [node.id],
        ids=[*standing_nodes(outline), node.parent_id or "", node.merge_parent_id or ""],
        children_of=node.id,
    )
    return TreeView(outline, TreeNodes(lineage.by_id), now()), lineage


def _settings(node: Node, declarations: Mapping[str, Setting]) -> list[SettingRow]:
    before = {change.name: change.before for change in node.changes}
    since = {change.name: change.step for change in node.changes}
    effective = node.effective or {}
    is_fresh = node.kind == "fork" and (node.restored or {}).get("optimizer") == "reset"
    obeyed = node_rows.is_obeyed(effective)
    rows = []
    for name, value in sorted(node.settings.items()):
        used = effective.get(name)
        held = None if name not in effective else node_rows.same(used, value)
        # A change is proved only if everything about that update was as requested.
        held = held and obeyed if name in before else held
        is_script_value = is_fresh and name not in before and name in effective
        declared = declarations.get(name)
        about, unit = (declared.about, declared.unit) if declared else ("", "")
        value, held = (used, None) if is_script_value else (value, held)
        rows.append(
            SettingRow(
                name,
                value,
                before.get(name),
                name in before,
                used,
                held,
                about,
                unit,
                is_script_value,
                since.get(name),
            )
        )
    return rows


def _measured(node: Node) -> dict[str, Any]:
    effective = node.effective or {}
    return {
        name: value for name, value in effective.items() if name.rpartition(".")[2] in _MEASURED
    }


def _metrics(
    node: Node, parent: NodeSummary | None
) -> list[tuple[str, float | None, float | None]]:
    """Return each metric's value and its difference from the parent's."""
    rows = []
    for name, value in sorted(node.metrics.items()):
        current, earlier = as_number(value), as_number(parent.metrics.get(name)) if parent else None
        comparable = current is not None and earlier is not None and node.kind != "fork"
        rows.append((name, current, (current or 0.0) - (earlier or 0.0) if comparable else None))
    return rows


def _crumbs(view: TreeView, line: Sequence[tuple[int, NodeSummary]]) -> list[Step]:
    """Return the way from the root: nodes with changes or new branches, and the parent."""
    steps: list[Step] = []
    above = None
    for distance, node in reversed(line):
        is_listed = node.changes or node.kind in ("root", "fork", "merge") or node.parent_id is None
        if distance == 0 or not (is_listed or distance == 1):
            continue
        skipped = 0 if above is None else above - distance - 1
        branch = view.by_branch[node.branch_id].branch
        steps.append(Step(node, branch, change_words(node.changes) or node.kind, skipped))
        above = distance
    return steps


def _merged(view: TreeView, node: Node) -> list[tuple[NodeSummary, Branch]]:
    """Return both parents of a merge with their branches; nothing for any other node."""
    if node.merge_parent_id is None:
        return []
    parents = [view.by_id.get(parent or "") for parent in (node.parent_id, node.merge_parent_id)]
    return [(parent, view.by_branch[parent.branch_id].branch) for parent in parents if parent]


def _children(view: TreeView, node: Node) -> list[tuple[NodeSummary, Branch]]:
    candidates = list(view.by_id.values())[::-1]
    below = [child for child in candidates if node.id in (child.parent_id, child.merge_parent_id)]
    return [(child, view.by_branch[child.branch_id].branch) for child in below]


def _files(store: Store, stored: StoredCheckpoint) -> list[FileRow]:
    packs: dict[str, list[int]] = {}
    for location in stored.locations.values():
        packs.setdefault(location.pack, []).append(location.nbytes)
    return [
        FileRow(_shown(store.describe(pack)), len(sizes), sum(sizes), store.exists(pack))
        for pack, sizes in sorted(packs.items())
    ]


def _shown(path: str) -> str:
    """Return a pack's path inside the store; pages do not say where the store is."""
    *_, folder, subfolder, name = path.split("/")
    return f"{folder}/{subfolder}/{name[:12]}…{name[name.rfind('.') :]}"


def _parts(stored: StoredCheckpoint) -> list[PartRow]:
    sizes: dict[str, list[int]] = {}
    for name, _dtype, _shape, digest in stored.manifest["tensors"]:
        location = stored.locations.get(digest)
        sizes.setdefault(name.partition("/")[0], []).append(location.nbytes if location else 0)
    return [PartRow(role, len(role_sizes), sum(role_sizes)) for role, role_sizes in sizes.items()]


def _command(node: Node) -> str:
    """Return the shell command that resumes this node, with an example of a setting to change."""
    parts = ["branchtrack", "resume", node.id[:8]]
    parts += ["--set", f"lr={exact_setting(node.settings['lr'])}"] if "lr" in node.settings else []
    return shlex.join([*parts, "--name", "NEW-BRANCH"])
