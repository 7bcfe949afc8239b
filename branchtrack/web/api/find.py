"""The search over nodes of all runs, as JSON."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from branchtrack.analysis import payloads_nodes
from branchtrack.core.queries.language import parse
from branchtrack.db.views import node_search
from branchtrack.schemas import search as models
from branchtrack.web.api.contract import documented
from branchtrack.web.services import services

blueprint = Blueprint("api_find", __name__, url_prefix="/api/v1")


@blueprint.get("/find")
@documented(models.MatchPage, query=models.FindQuery)
def find(query: models.FindQuery) -> Any:
    """Return the nodes that ``q`` matches, the newest first, and ``next`` for the page after."""
    term = parse(query.q)
    with services().database.read() as connection:
        result = node_search.search(connection, term, query.limit, query.after)
        nodes = payloads_nodes.matches(connection, result.matches)
    return {"nodes": nodes, "next": result.next}
