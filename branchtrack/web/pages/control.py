"""Steering a branch that trains: a form on the tree page becomes a request to its process.

Nothing here says that a change happened: the page shows the request and what the process answers.
"""

from __future__ import annotations

from flask import Blueprint, Response, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from branchtrack import control
from branchtrack.db import runs
from branchtrack.db.views import tree_outline
from branchtrack.db.views.tree_nodes import TreeNodes
from branchtrack.errors import InvalidInput
from branchtrack.web.access.guards import actor
from branchtrack.web.pages import steer, tree
from branchtrack.web.rendering import now, respond
from branchtrack.web.services import services
from branchtrack.web.view.tree import TreeView

blueprint = Blueprint("control", __name__)


@blueprint.post("/runs/<run>/branches/<branch>/requests")
def submit(run: str, branch: str) -> AnyResponse:
    """Ask the process that trains the branch; what is not valid comes back with the form."""
    reference = f"{run}/{branch}"
    try:
        with services().database.read() as connection:
            payload = steer.payload(connection, reference, request.form)
        control.submit(
            services().database,
            reference,
            payload,
            actor=actor(),
            reason=request.form.get("reason", ""),
        )
    except InvalidInput as error:
        errors = {"branch": branch, "error": error, "form": request.form}
        return tree.page(run, 422, errors)
    return redirect(url_for("tree.show", run=run) + "#requests", 303)


@blueprint.get("/runs/<run>/branches/<branch>/stop")
def confirm_stop(run: str, branch: str) -> Response:
    """The page that asks once more before a branch is stopped."""
    with services().database.read() as connection:
        view = TreeView(tree_outline.trees(connection, [run])[run], TreeNodes(), now()).named(
            branch
        )
        if view is None or not view.is_live:
            # They know why it cannot be, and say it.
            control.live_segment(connection, runs.find_branch(connection, f"{run}/{branch}"))
    when = request.args.get("when", "now")
    return respond("control/stop.html", run=run, view=view, when=when)
