"""The API of agents and proposals: list, decide, change, stop, and what was said."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from branchtrack import control
from branchtrack.analysis import payloads_agents, payloads_requests
from branchtrack.control.proposals import agent_orders
from branchtrack.core.agents.records import Agent
from branchtrack.db import requests, runs
from branchtrack.db.watching import agents, exchanges
from branchtrack.errors import InvalidInput
from branchtrack.web.access.guards import actor
from branchtrack.web.input import query
from branchtrack.web.input.json_body import fields, optional_text
from branchtrack.web.rendering import now
from branchtrack.web.services import services
from branchtrack.web.view import agents as view

blueprint = Blueprint("api_agents", __name__, url_prefix="/api/v1")
_PAGE, _MOST = 50, 500


@blueprint.get("/proposals")
def list_proposals() -> Response:
    """Return what waits for a decision, the oldest first."""
    if not services().database.read_only:
        view.expire(services().database)
    with services().database.read() as connection:
        waiting = requests.proposals(connection, _run_id())
        return jsonify([payloads_agents.proposal(connection, row) for row in waiting])


@blueprint.post("/proposals/<proposal>/approve")
def approve(proposal: str) -> Response:
    """Have a proposal carried out, and return the request."""
    database, store, home = services().database, services().store, services().config.home
    done = control.approve(database, store, proposal, actor=actor(), home=home)
    return jsonify(payloads_requests.request(done))


@blueprint.post("/proposals/<proposal>/decline")
def decline(proposal: str) -> Response:
    """Say no to a proposal, and return the request."""
    reason = optional_text(fields("reason"), "reason", "")
    done = control.decline(services().database, proposal, actor=actor(), reason=reason)
    return jsonify(payloads_requests.request(done))


@blueprint.get("/agents")
def list_agents() -> Response:
    """Return the agents of all runs, or of ``run``, the newest first."""
    with services().database.read() as connection:
        listed = agents.listed(connection, _run_id())
        return jsonify([payloads_agents.agent(connection, row, now()) for row in listed])


@blueprint.get("/agents/<agent>")
def show(agent: str) -> Response:
    """Return one agent."""
    with services().database.read() as connection:
        record = agents.find(connection, agent)
    return _answer(record)


@blueprint.patch("/agents/<agent>")
def change(agent: str) -> Response:
    """Give an agent another ``mode``, or other limits of its ``budget``; return it."""
    body = fields("mode", "budget")
    budget = body.get("budget")
    if budget is not None and not isinstance(budget, dict):
        raise InvalidInput("budget", budget, "limits by name")
    mode = optional_text(body, "mode", "") if "mode" in body else None
    return _answer(
        agent_orders.change(services().database, agent, actor=actor(), mode=mode, budget=budget)
    )


@blueprint.post("/agents/<agent>/stop")
def stop(agent: str) -> Response:
    """Have an agent end, and return it."""
    return _answer(agent_orders.stop(services().database, agent, actor=actor()))


@blueprint.get("/agents/<agent>/exchanges")
def list_exchanges(agent: str) -> Response:
    """Return what an agent and its model said, newest first, in pages."""
    limit = query.whole("limit", 1) or _PAGE
    if limit > _MOST:
        raise InvalidInput("limit", limit, f"at most {_MOST}")
    with services().database.read() as connection:
        record = agents.find(connection, agent)
        said = exchanges.of_agent(connection, record.id, limit + 1, query.whole("before", 1))
        total = exchanges.count(connection, record.id)
    shown = [payloads_agents.exchange(row) for row in said[:limit]]
    more = shown[-1]["seq"] if len(said) > limit else None
    return jsonify({"exchanges": shown, "total": total, "next": more})


def _run_id() -> str | None:
    name = request.args.get("run", "").strip()
    if not name:
        return None
    with services().database.read() as connection:
        return runs.find_run(connection, name).id


def _answer(record: Agent) -> Response:
    with services().database.read() as connection:
        return jsonify(payloads_agents.agent(connection, record, now()))
