"""The steer page of a branch: every setting and action that its process declared, and requests.

Nothing here reports that a change happened: the page shows requests and the process's answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flask import Blueprint, Response, redirect, request, url_for
from sqlalchemy import Connection
from werkzeug.wrappers import Response as AnyResponse

from branchtrack import control
from branchtrack.analysis.interventions import recording_of
from branchtrack.core import capabilities, interventions
from branchtrack.core.builtin_settings import declared
from branchtrack.core.replays import recording as recordings
from branchtrack.db import nodes, requests, runs
from branchtrack.db.views import tree_nodes, tree_outline
from branchtrack.db.views.tree_nodes import TreeNodes
from branchtrack.db.views.tree_outline import NodeSummary
from branchtrack.errors import BranchtrackError, InvalidInput
from branchtrack.web.access.guards import actor
from branchtrack.web.events.streams import Cursor
from branchtrack.web.input import forms, query
from branchtrack.web.pages import tree as tree_page
from branchtrack.web.rendering import now, respond
from branchtrack.web.services import services
from branchtrack.web.view import request_lines, setting_rows
from branchtrack.web.view.tree import TreeView, standing_nodes

blueprint = Blueprint("steer", __name__)
_REQUESTS, _NODES = 50, 200
#: The pages that have request forms, and are shown again after one.
_PAGES = ("steer", "tree")


@dataclass(frozen=True)
class Draft:
    """A form that was sent and is shown again, with its errors or a preview."""

    kind: str
    form: Mapping[str, str] = field(default_factory=dict)
    error: BranchtrackError | None = None
    preview: Mapping[str, Any] | None = None


@blueprint.get("/runs/<run>/branches/<branch>/steer")
def show(run: str, branch: str) -> Response:
    """Return the page, or its live part; ``node`` in the address selects the node to rewind to."""
    return render_steer(run, branch)


@blueprint.get("/runs/<run>/branches/<branch>/interventions.jsonl")
def interventions_file(run: str, branch: str) -> Response:
    """Return the changes along a branch, as `branchtrack replay` reads them."""
    with services().database.read() as connection:
        branch_record = runs.find_branch(connection, f"{run}/{branch}")
        recording = recording_of(connection, branch_record)
    answer = Response(recordings.to_text(recording), mimetype="application/jsonl")
    name = f"{run}-{branch}.jsonl".replace("/", "_")
    answer.headers.set("Content-Disposition", "attachment", filename=name)
    return answer


@blueprint.post("/runs/<run>/branches/<branch>/steer")
def submit(run: str, branch: str) -> AnyResponse:
    """Submit a request; an invalid one is shown again in its form, on the page that it came from.

    ``back`` in the address names that page.
    """
    form, is_from_tree = request.form, query.choice("back", _PAGES) == "tree"
    try:
        control.submit(
            services().database,
            f"{run}/{branch}",
            _payload(run, branch),
            actor=actor(),
            reason=form.get("reason", ""),
            when=forms.conditions(form),
            home=services().config.home,
        )
    except InvalidInput as error:
        if is_from_tree:
            return tree_page.render_tree(run, 422, {"branch": branch, "error": error, "form": form})
        return render_steer(run, branch, Draft(form.get("kind", ""), form, error), 422)
    if is_from_tree:
        return redirect(url_for("tree.show", run=run, _anchor="requests"), 303)
    return redirect(url_for("steer.show", run=run, branch=branch, _anchor="requests"), 303)


@blueprint.get("/runs/<run>/branches/<branch>/stop")
def confirm_stop(run: str, branch: str) -> Response:
    """Return the page that asks for confirmation before a branch is stopped."""
    with services().database.read() as connection:
        outline = tree_outline.trees(connection, [run])[run]
        view = TreeView(outline, TreeNodes(), now()).named(branch)
        if view is None or not view.is_live:
            # These raise the error that says why the branch cannot be stopped.
            control.live_segment(connection, runs.find_branch(connection, f"{run}/{branch}"))
    return respond("steer/stop.html", run=run, view=view, when=request.args.get("when", "now"))


@blueprint.post("/runs/<run>/branches/<branch>/steer/preview")
def preview(run: str, branch: str) -> AnyResponse:
    """Show what a form would request; nothing is sent."""
    form, kind = request.form, request.form.get("kind", "")
    try:
        result = control.preview(
            services().database,
            f"{run}/{branch}",
            _payload(run, branch),
            actor=actor(),
            reason=form.get("reason", ""),
            when=forms.conditions(form),
            home=services().config.home,
        )
    except InvalidInput as error:
        return render_steer(run, branch, Draft(kind, form, error), 422)
    if result["valid"]:
        return render_steer(run, branch, Draft(kind, form, preview=result))
    problem = result["error"]
    refusal = BranchtrackError(
        problem["what"], safe="Nothing was requested.", fix=problem["fix"], field=problem["field"]
    )
    return render_steer(run, branch, Draft(kind, form, refusal), 422)


@blueprint.post("/requests/<request_id>/cancel")
def cancel(request_id: str) -> AnyResponse:
    """Ask for the cancellation of a request; its process says whether that was in time."""
    request_record = control.cancel(services().database, request_id, actor=actor())
    with services().database.read() as connection:
        run = runs.get_run(connection, request_record.run_id).name
        branch = runs.get_branch(connection, request_record.branch_id).name
    return redirect(url_for("steer.show", run=run, branch=branch, _anchor="requests"), 303)


def _payload(run: str, branch: str) -> dict[str, Any]:
    """Return what the form requests of a branch; if that does not train, as it was typed."""
    with services().database.read() as connection:
        record = runs.find_branch(connection, f"{run}/{branch}")
        if not interventions.has_settings(request.form.get("kind", "")):
            return forms.intervention(request.form, {}, {})
        segment = control.live_segment(connection, record)
        return forms.intervention(request.form, declared(segment.declared), segment.settings)


def render_steer(run: str, branch: str, draft: Draft | None = None, status: int = 200) -> Response:
    """Return the page of a branch; ``draft`` is the form that was sent, shown as it was typed."""
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

    def reload() -> Sequence[Any]:
        with database.read() as connection:
            return requests.list_of_run(
                connection, tree.run.id, _REQUESTS, branch_id=view.branch.id
            )

    listed = request_lines.refresh_if_orphaned(
        database, recent_requests, tree.outline.segments, tree.now, reload
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
        groups=setting_rows.grouped(view, used),
        used_step=used.get("step"),
        later=[item for item in view.settings.values() if not item.live],
        requests=listed,
        most_requests=_REQUESTS,
        described={item.id: request_lines.describe_request(item) for item in listed},
        offered=capabilities.read(view.segment.offers if view.segment else {}),
        nodes=_rewinds(tree),
        are_more=tree.nodes.older is not None,
        cursor=Cursor(tree.outline.cursor),
        prefix=forms.PREFIX,
        argument=forms.ARGUMENT,
    )


def _tree(connection: Connection, run: str) -> TreeView:
    """Return the run's branches, and its newest nodes as choices for a rewind."""
    outline = tree_outline.trees(connection, [run])[run]
    chosen = request.args.get("node") or request.form.get("node") or ""
    ids = [*standing_nodes(outline), chosen]
    newest_nodes = tree_nodes.read(connection, outline.run.id, ids=ids, limit=_NODES)
    return TreeView(outline, newest_nodes, now())


def _rewinds(tree: TreeView) -> list[NodeSummary]:
    """Return the nodes to choose from: the newest ones, and the one that the address names."""
    chosen = tree.by_id.get(request.args.get("node") or request.form.get("node") or "")
    listed = [row.node for row in tree.nodes.page]
    return listed if chosen is None or chosen in listed else [*listed, chosen]
