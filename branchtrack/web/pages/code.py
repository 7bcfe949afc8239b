"""What ran when a node was made: command, commit, uncommitted difference, packages."""

from __future__ import annotations

from flask import Blueprint, Response, request

from branchtrack.analysis import code_difference, payloads_code
from branchtrack.db import nodes, runs
from branchtrack.web.rendering import respond
from branchtrack.web.services import services

blueprint = Blueprint("code", __name__)


@blueprint.get("/nodes/<node_id>/code")
def show(node_id: str) -> Response:
    """Return the page; ``against`` in the address is the node whose code it is compared with.

    Without it that is the node at which the process began.
    """
    against = request.args.get("against", "").strip()
    with services().database.read() as connection:
        node = nodes.find(connection, node_id)
        run = runs.get_run(connection, node.run_id)
        code = payloads_code.code(connection, node)
        other = (
            nodes.find(connection, against)
            if against
            else code_difference.earlier(connection, node)
        )
        difference = None if other is None else code_difference.between(connection, node, other)
    return respond(
        "code/index.html", node=node, run=run, code=code, difference=difference, against=against
    )
