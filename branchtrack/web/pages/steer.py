"""Steering one branch: every setting and action that its process declared, and what was asked.

Nothing here says that a change happened: the page shows requests and what the process answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flask import Blueprint, Response, redirect, request, url_for
from sqlalchemy import Connection
from werkzeug.wrappers import Response as AnyResponse

from branchtrack import control
from branchtrack.core import capabilities
from branchtrack.core.settings import Setting, declared
from branchtrack.db import nodes, requests, runs
from branchtrack.db.views import tree_nodes, tree_outline
from branchtrack.db.views.tree_outline import NodeSummary
from branchtrack.errors import BranchtrackError, InvalidInput
from branchtrack.web.access.guards import actor
from branchtrack.web.events.streams import Cursor
from branchtrack.web.input import forms
from branchtrack.web.rendering import now, respond
from branchtrack.web.services import services
from branchtrack.web.view import request_lines
from branchtrack.web.view.tree import BranchView, TreeView, standing_nodes

blueprint = Blueprint("steer", __name__)
_REQUESTS, _NODES = 50, 200
#: Where a setting stands by the last part of its name; one of the author's own stands last.
_GROUPS = {
    "Optimizer": ("lr", "momentum", "betas", "eps", "max_grad_norm"),
    "Regularisation": ("weight_decay", "dropout", "label_smoothing_factor", "frozen"),
    "Schedule and length": ("horizon", "max_steps", "scheduler"),
    "Logging and saving": ("logging_steps", "eval_steps", "save_steps"),
    "Data": ("batch_size", "gradient_accumulation_steps", "seed", "mixture"),
}
_OWN, _DETAILS = "The script’s own", "Of single groups and modules"


@dataclass(frozen=True)
class Row:
    """A setting, what the process last said it is, and what the last update read back used."""

    setting: Setting
    value: Any
    used: Any
    used_now: Any


@dataclass(frozen=True)
class Draft:
    """A form that was sent and is shown again: with what is wrong, or what it would do."""

    kind: str
    form: Mapping[str, str] = field(default_factory=dict)
    error: BranchtrackError | None = None
    preview: Mapping[str, Any] | None = None


@blueprint.get("/runs/<run>/branches/<branch>/steer")
def show(run: str, branch: str) -> Response:
    """The page, or its live part; ``node`` in the address chooses where to rewind to."""
    return _page(run, branch)


@blueprint.post("/runs/<run>/branches/<branch>/steer")
def ask(run: str, branch: str) -> AnyResponse:
    """Ask the process; what is not valid comes back with the form."""
    form = request.form
    try:
        control.submit(
            services().database,
            f"{run}/{branch}",
            _payload(run, branch),
            actor=actor(),
            reason=form.get("reason", ""),
            when=forms.conditions(form),
        )
    except InvalidInput as error:
        return _page(run, branch, Draft(form.get("kind", ""), form, error), 422)
    return redirect(url_for("steer.show", run=run, branch=branch, _anchor="requests"), 303)


@blueprint.post("/runs/<run>/branches/<branch>/steer/preview")
def preview(run: str, branch: str) -> AnyResponse:
    """Show what a form would ask for; nothing is asked."""
    form, kind = request.form, request.form.get("kind", "")
    try:
        result = control.preview(
            services().database,
            f"{run}/{branch}",
            _payload(run, branch),
            actor=actor(),
            reason=form.get("reason", ""),
            when=forms.conditions(form),
        )
    except InvalidInput as error:
        return _page(run, branch, Draft(kind, form, error), 422)
    if result["valid"]:
        return _page(run, branch, Draft(kind, form, preview=result))
    problem = result["error"]
    refusal = BranchtrackError(
        problem["what"], safe="Nothing was asked.", fix=problem["fix"], field=problem["field"]
    )
    return _page(run, branch, Draft(kind, form, refusal), 422)


@blueprint.post("/requests/<request_id>/cancel")
def cancel(request_id: str) -> AnyResponse:
    """Ask for a request to be taken back; its process says whether that was in time."""
    request_record = control.cancel(services().database, request_id, actor=actor())
    with services().database.read() as connection:
        run = runs.get_run(connection, request_record.run_id).name
        branch = runs.get_branch(connection, request_record.branch_id).name
    return redirect(url_for("steer.show", run=run, branch=branch, _anchor="requests"), 303)


def _payload(run: str, branch: str) -> dict[str, Any]:
    with services().database.read() as connection:
        return payload(connection, f"{run}/{branch}", request.form)


def payload(connection: Connection, reference: str, form: Mapping[str, str]) -> dict[str, Any]:
    """What a form asks of a branch; of one that nobody trains as it was typed."""
    branch = runs.find_branch(connection, reference)
    if form.get("kind") != "set":
        return forms.intervention(form, {}, {})
    segment = control.live_segment(connection, branch)
    return forms.intervention(form, declared(segment.declared), segment.settings)


def _page(run: str, branch: str, draft: Draft | None = None, status: int = 200) -> Response:
    database = services().database
    with database.read() as connection:
        tree = _tree(connection, run)
        view = tree.named(branch)
        if view is None:
            raise tree.no_branch(branch)
        recent_requests = requests.list_of_run(
            connection, tree.run.id, _REQUESTS, branch_id=view.branch.id
        )
        used = nodes.last_effective(connection, view.branch.id)

    def again() -> Sequence[Any]:
        with database.read() as connection:
            return requests.list_of_run(
                connection, tree.run.id, _REQUESTS, branch_id=view.branch.id
            )

    listed = request_lines.settled(
        database, recent_requests, tree.outline.segments, tree.now, again
    )
    shown = draft or Draft("rewind", {"node": request.args.get("node", "")})
    return respond(
        "steer/index.html",
        status,
        tree=tree,
        view=view,
        draft=shown,
        is_draft=draft is not None,
        part=request.args.get("part"),
        groups=_groups(view, used),
        used_step=used.get("step"),
        later=[item for item in view.settings.values() if not item.live],
        requests=listed,
        most_requests=_REQUESTS,
        described={item.id: request_lines.described(item) for item in listed},
        offered=capabilities.read(view.segment.offers if view.segment else {}),
        nodes=_rewinds(tree),
        are_more=tree.nodes.older is not None,
        cursor=Cursor(tree.outline.cursor),
        prefix=forms.PREFIX,
        argument=forms.ARGUMENT,
    )


def _tree(connection: Connection, run: str) -> TreeView:
    """The run's branches, and its newest nodes to choose one from to rewind to."""
    outline = tree_outline.trees(connection, [run])[run]
    chosen = request.args.get("node") or request.form.get("node") or ""
    ids = [*standing_nodes(outline), chosen]
    newest_nodes = tree_nodes.read(connection, outline.run.id, ids=ids, limit=_NODES)
    return TreeView(outline, newest_nodes, now())


def _rewinds(tree: TreeView) -> list[NodeSummary]:
    """The nodes to choose from: the newest ones, and the one that the address names."""
    chosen = tree.by_id.get(request.args.get("node") or request.form.get("node") or "")
    listed = list(tree.nodes.page)
    return listed if chosen is None or chosen in listed else [*listed, chosen]


def _groups(view: BranchView, used: Mapping[str, Any]) -> dict[str, list[Row]]:
    """The settings that can be changed now by group, in the order declared; empty ones left out."""
    groups: dict[str, list[Row]] = {name: [] for name in (*_GROUPS, _OWN, _DETAILS)}
    current = view.segment.settings if view.segment else {}
    for name, declaration in view.settings.items():
        if declaration.live:
            row = Row(declaration, current.get(name), used.get(name), used.get(f"{name}_now"))
            groups[_group(declaration)].append(row)
    return {name: rows for name, rows in groups.items() if rows}


def _group(declaration: Setting) -> str:
    if declaration.detail:
        return _DETAILS
    if declaration.name.startswith("data."):
        return "Data"
    last = declaration.name.rpartition(".")[2]
    if "schedule" in last or "warmup" in last:
        return "Schedule and length"
    # A field that an optimizer of the script has beside the usual ones says whose it is.
    if declaration.about.startswith(f"{last} of "):
        return "Optimizer"
    return next((group for group, names in _GROUPS.items() if last in names), _OWN)
