"""The API for nodes: one node, what ran, whether it is whole, and pins. It writes no markup."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from branchtrack import control
from branchtrack.analysis import payloads_code, payloads_nodes
from branchtrack.db import nodes, runs
from branchtrack.retention import pins
from branchtrack.schemas import nodes as models
from branchtrack.schemas.bases import Selection
from branchtrack.web.access.guards import actor
from branchtrack.web.api.contract import documented
from branchtrack.web.services import services

blueprint = Blueprint("api_nodes", __name__, url_prefix="/api/v1/nodes")


@blueprint.get("/<node_id>")
@documented(models.Node, query=Selection)
def show(node_id: str) -> Any:
    """Return a node with its settings, environment and checkpoint."""
    with services().database.read() as connection:
        node = nodes.find(connection, node_id)
        return payloads_nodes.show(connection, services().store, node)


@blueprint.get("/<node_id>/code")
@documented(models.NodeCode, query=Selection)
def code(node_id: str) -> Any:
    """Return what ran when a node was made."""
    with services().database.read() as connection:
        node = nodes.find(connection, node_id)
        run = runs.get_run(connection, node.run_id).name
        return {"node": node.id, "run": run, "code": payloads_code.code(connection, node)}


@blueprint.post("/<node_id>/verify")
@documented(models.Verdict, deed="request")
def verify(node_id: str) -> Any:
    """Read all bytes of a node's checkpoint, and return whether they are as they were written."""
    with services().database.read() as connection:
        node = nodes.find(connection, node_id)
    return control.node_verdict(services().database, services().store, node.id)


@blueprint.post("/<node_id>/pin")
@documented(models.Pin, deed="retain")
def pin(node_id: str) -> Any:
    """Keep the checkpoint of a node whatever the policy of its run."""
    return _pin(node_id, True)


@blueprint.delete("/<node_id>/pin")
@documented(models.Pin, deed="retain")
def unpin(node_id: str) -> Any:
    """Let the policy of its run decide on a node again."""
    return _pin(node_id, False)


def _pin(node_id: str, pinned: bool) -> dict[str, Any]:
    with services().database.read() as connection:
        node = nodes.find(connection, node_id)
    changed = pins.set_pinned(services().database, node.id, pinned, actor())
    return {"node": node.id, "pinned": pinned, "changed": changed}
