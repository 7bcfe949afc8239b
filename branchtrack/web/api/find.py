"""The search over nodes of all runs, as JSON."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from branchtrack.analysis import payloads_nodes
from branchtrack.core.queries.language import parse
from branchtrack.db.views import node_search
from branchtrack.errors import InvalidInput
from branchtrack.web.input import query
from branchtrack.web.services import services

blueprint = Blueprint("api_find", __name__, url_prefix="/api/v1")
_PAGE, _LARGEST_PAGE = 100, 1000


@blueprint.get("/find")
def find() -> Response:
    """Return the nodes that ``q`` matches, the newest first, and ``next`` for the page after."""
    limit = query.whole("limit", 1) or _PAGE
    if limit > _LARGEST_PAGE:
        raise InvalidInput("limit", limit, f"at most {_LARGEST_PAGE:,}")
    term = parse(request.args.get("q", ""))
    with services().database.read() as connection:
        result = node_search.search(connection, term, limit, query.whole("after"))
    nodes = [payloads_nodes.match(match) for match in result.matches]
    return jsonify(nodes=nodes, next=result.next)
