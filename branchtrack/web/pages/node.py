"""One node: what changed, the values in use, the effect that was read back, and the checkpoint."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response

from branchtrack.checkpoints.packs import Store
from branchtrack.core import lifecycle, restores
from branchtrack.core.builtin_settings import declared as by_name
from branchtrack.core.forks import reversal
from branchtrack.core.formats import as_number, exact_setting
from branchtrack.core.overrides import offered
from branchtrack.core.records import Node, Request, StoredCheckpoint
from branchtrack.core.settings import Setting
from branchtrack.db import nodes
from branchtrack.db.views.nearby import node_history, node_place
from branchtrack.db.views.nearby.node_history import NodeHistory
from branchtrack.db.views.nearby.node_place import BranchName, NodePlace, Surroundings
from branchtrack.db.views.tree_outline import NodeSummary
from branchtrack.web.pages import wall
from branchtrack.web.rendering import now, respond
from branchtrack.web.services import services
from branchtrack.web.view import certificate_lines, node_rows, request_lines, trials
from branchtrack.web.view.tree import BranchView, change_words
from branchtrack.web.view.trials import Tried

blueprint = Blueprint("node", __name__)
#: Steps before and after the node that its charts show at least.
_AROUND = 25
#: Steps of a long way from the root that are shown at its ends.
_FIRST, _LAST = 3, 9
#: Children, and siblings, that are listed: the newest.
_LISTED = 50
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
    branch: BranchName
    words: str
    is_after_others: bool


@dataclass(frozen=True)
class Neighbour:
    """A node beside this one, its branch, and how it stands to this one."""

    how: str
    node: NodeSummary
    branch: BranchName


@blueprint.get("/nodes/<node_id>")
def show(node_id: str) -> Response:
    """Return the page of a node."""
    with services().database.read() as connection:
        node = nodes.find(connection, node_id)
        place = node_place.read(connection, node)
        around = node_place.surroundings(connection, node, _named(place, node))
        stored = nodes.checkpoint(connection, node.state_digest, need="record")
        history = node_history.read(connection, node)
    history = _refreshed(node, place, history)
    tried = [line for trial in reversed(history.trials) for line in trials.lines(trial)]
    branch = _branch(place, around)
    segment = place.segments.get(node.segment_id)
    parent = around.by_id.get(node.parent_id or "")
    declarations = by_name(segment.declared if segment else [])
    return respond(
        "node/index.html",
        node=node,
        run=place.run,
        charts=wall.around(place.run.name, branch.name, node.step, max(_AROUND, branch.step // 10)),
        branch=branch,
        parent=parent,
        merged=_merged(place, around, node),
        parent_branch=place.branches[parent.branch_id] if parent else None,
        crumbs=_crumbs(place, around.line),
        neighbours=_neighbours(place, around, node),
        children=_listed(place, around, around.children),
        siblings=_listed(place, around, around.siblings),
        most_listed=_LISTED,
        settings=_settings(node, declarations),
        proofs=node_rows.proofs(node.changes, node.effective),
        measured=_measured(node),
        notes=_MEASURED,
        metrics=_metrics(node, parent),
        stored=stored,
        files=_files(services().store, stored),
        parts=_parts(stored),
        requests=history.requests,
        audit=history.events,
        described={item.id: request_lines.describe_request(item) for item in history.requests},
        tried=tried,
        has_more_trials=history.has_more_trials,
        own_trial=Tried.of(history.trials).by_node.get(node.id),
        command=_command(node),
        others=[b for b in place.branches.values() if b.id != node.branch_id and not b.is_tried],
        restore=restores.sentence(node.compared) if node.compared else "",
        is_reversible=reversal.is_reversible(node, offered(declarations, node.settings)),
        is_last=branch.branch.head_id == node.id,
        ended=branch.status not in lifecycle.LIVE,
        certified=branch.certified,
        live=_live(place),
    )


def _refreshed(node: Node, place: NodePlace, history: NodeHistory) -> NodeHistory:
    """Return a node's history, reloaded if it had requests that will never be answered."""
    database, seen = services().database, [history]

    def reload() -> list[Request]:
        with database.read() as connection:
            seen.append(node_history.read(connection, node))
        return seen[-1].requests

    every = request_lines.segments_of(database, history.requests, place.segments)
    request_lines.refresh_if_orphaned(database, history.requests, every, now(), reload)
    return seen[-1]


def _named(place: NodePlace, node: Node) -> list[str]:
    """Return the ids of nodes that the page names beside those around this one."""
    ids = [place.branch.head_id, node.merge_parent_id]
    if place.certificate is not None:
        ids += [place.certificate.from_node_id, place.certificate.to_node_id]
    return [name for name in ids if name]


def _branch(place: NodePlace, around: Surroundings) -> BranchView:
    branch = place.branch
    segment = place.segments.get(branch.segment_id or "")
    status = "empty" if segment is None else lifecycle.segment_status(segment, now())
    head = around.by_id.get(branch.head_id or "")
    certified = certificate_lines.find(place.certificate, around.by_id, head)
    return BranchView(branch, segment, status, head, None, certified=certified)


def _live(place: NodePlace) -> list[BranchName]:
    """Return the branches that train now; nobody steers those of a trial."""
    training = {
        segment.id
        for segment in place.segments.values()
        if lifecycle.segment_status(segment, now()) in lifecycle.LIVE
    }
    listed = [branch for branch in place.branches.values() if branch.segment_id in training]
    return [branch for branch in listed if not branch.is_tried]


def _listed(
    place: NodePlace, around: Surroundings, ids: Sequence[str]
) -> list[tuple[NodeSummary, BranchName]]:
    """Return nodes with their branches, but those of trials, whose verdicts stand for them."""
    summaries = [around.by_id[name] for name in ids]
    pairs = [(summary, place.branches[summary.branch_id]) for summary in summaries]
    return [pair for pair in pairs if not pair[1].is_tried]


def _neighbours(place: NodePlace, around: Surroundings, node: Node) -> list[Neighbour]:
    """Return the node before this one, and the one after it on its branch, as far as there are."""
    parent = around.by_id.get(node.parent_id or "")
    after = [child for child in around.children if around.by_id[child].branch_id == node.branch_id]
    found = []
    if parent is not None:
        how = "previous" if parent.branch_id == node.branch_id else "parent"
        found.append(Neighbour(how, parent, place.branches[parent.branch_id]))
    if after:
        following = around.by_id[after[-1]]
        found.append(Neighbour("next", following, place.branches[following.branch_id]))
    return found


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


def _crumbs(place: NodePlace, line: Sequence[NodeSummary]) -> list[Step]:
    """Return the way from the root, oldest first; of a long one its two ends."""
    pairs = list(zip([None, *line], line, strict=False))
    is_long = len(pairs) > _FIRST + _LAST
    shown = [*pairs[:_FIRST], *pairs[-_LAST:]] if is_long else pairs
    return [
        Step(
            node,
            place.branches[node.branch_id],
            change_words(node.changes) or node.kind,
            above is not None and (node.parent_id != above.id or (is_long and number == _FIRST)),
        )
        for number, (above, node) in enumerate(shown)
    ]


def _merged(
    place: NodePlace, around: Surroundings, node: Node
) -> list[tuple[NodeSummary, BranchName]]:
    """Return both parents of a merge with their branches; nothing for any other node."""
    if node.merge_parent_id is None:
        return []
    parents = [name for name in (node.parent_id, node.merge_parent_id) if name in around.by_id]
    return _listed(place, around, [name for name in parents if name])


def _files(store: Store, stored: StoredCheckpoint) -> list[FileRow]:
    packs: dict[str, list[int]] = {}
    for location in stored.locations.values():
        packs.setdefault(location.pack, []).append(location.nbytes)
    # A page does not wait for a bucket; verifying a node asks it.
    is_away = store.copies is not None
    return [
        FileRow(_shown(store.describe(pack)), len(sizes), sum(sizes), is_away or store.exists(pack))
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
