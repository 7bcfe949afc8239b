"""What ran when a node was made: command, commit, uncommitted difference, packages."""

from __future__ import annotations

from flask import Blueprint, Response

from branchtrack.analysis import payloads_code
from branchtrack.db import nodes, runs
from branchtrack.web.rendering import respond
from branchtrack.web.services import services

blueprint = Blueprint("code", __name__)


@blueprint.get("/nodes/<node_id>/code")
def show(node_id: str) -> Response:
    """Return the page."""
    with services().database.read() as connection:
        node = nodes.find(connection, node_id)
        run = runs.get_run(connection, node.run_id)
        code = payloads_code.code(connection, node)
    return respond("code/index.html", node=node, run=run, code=code)
