"""The API of agents and proposals: list, propose, decide, change, stop, and what was said."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from branchtrack import control
from branchtrack.analysis import payloads_agents, payloads_requests
from branchtrack.control.proposals import agent_orders
from branchtrack.core.agents.records import Agent
from branchtrack.db import requests, runs
from branchtrack.db.watching import agents, exchanges
from branchtrack.schemas import agents as models
from branchtrack.schemas.bases import Selection
from branchtrack.schemas.requests import Request
from branchtrack.web.access.guards import actor
from branchtrack.web.api.contract import documented
from branchtrack.web.rendering import now
from branchtrack.web.services import services
from branchtrack.web.view import agents as view

blueprint = Blueprint("api_agents", __name__, url_prefix="/api/v1")


@blueprint.get("/proposals")
@documented(models.ProposalList, query=models.AgentsQuery)
def list_proposals(query: models.AgentsQuery) -> Any:
    """Return what waits for a decision, the oldest first."""
    if not services().database.read_only:
        view.expire(services().database)
    with services().database.read() as connection:
        run_id = runs.find_run(connection, query.run).id if query.run else None
        waiting = requests.proposals(connection, run_id)
        return {"proposals": [payloads_agents.proposal(connection, row) for row in waiting]}


@blueprint.post("/nodes/<node_id>/propose")
@documented({202: Request}, body=models.ForkProposalBody, deed="launch")
def propose_fork(node_id: str, body: models.ForkProposalBody) -> Any:
    """Propose a fork of a node; the request waits for a person."""
    request = control.propose_fork(
        services().database,
        services().store,
        node_id,
        actor=actor(),
        when={"expires_in": body.expires_in},
        **body.model_dump(exclude={"expires_in"}),
    )
    return payloads_requests.request(request), 202


@blueprint.post("/proposals/<proposal>/approve")
@documented(Request, deed="decide")
def approve(proposal: str) -> Any:
    """Have a proposal carried out, and return the request."""
    database, store, home = services().database, services().store, services().config.home
    done = control.approve(database, store, proposal, actor=actor(), home=home)
    return payloads_requests.request(done)


@blueprint.post("/proposals/<proposal>/decline")
@documented(Request, body=models.DeclineBody, deed="decide")
def decline(proposal: str, body: models.DeclineBody) -> Any:
    """Say no to a proposal, and return the request."""
    done = control.decline(services().database, proposal, actor=actor(), reason=body.reason)
    return payloads_requests.request(done)


@blueprint.get("/agents")
@documented(models.AgentList, query=models.AgentsQuery)
def list_agents(query: models.AgentsQuery) -> Any:
    """Return the agents of all runs, or of ``run``, the newest first."""
    with services().database.read() as connection:
        run_id = runs.find_run(connection, query.run).id if query.run else None
        listed = agents.listed(connection, run_id)
        return {"agents": [payloads_agents.agent(connection, row, now()) for row in listed]}


@blueprint.get("/agents/<agent>")
@documented(models.Agent, query=Selection)
def show(agent: str) -> Any:
    """Return one agent."""
    with services().database.read() as connection:
        return payloads_agents.agent(connection, agents.find(connection, agent), now())


@blueprint.patch("/agents/<agent>")
@documented(models.Agent, body=models.AgentBody, deed="decide")
def change(agent: str, body: models.AgentBody) -> Any:
    """Give an agent another ``mode``, or other limits of its ``budget``; return it."""
    orders = body.model_dump()
    return _answer(agent_orders.change(services().database, agent, actor=actor(), **orders))


@blueprint.post("/agents/<agent>/stop")
@documented(models.Agent, deed="decide")
def stop(agent: str) -> Any:
    """Have an agent end, and return it."""
    return _answer(agent_orders.stop(services().database, agent, actor=actor()))


@blueprint.get("/agents/<agent>/exchanges")
@documented(models.ExchangePage, query=models.ExchangesQuery)
def list_exchanges(agent: str, query: models.ExchangesQuery) -> Any:
    """Return what an agent and its model said, newest first, in pages."""
    with services().database.read() as connection:
        record = agents.find(connection, agent)
        said = exchanges.of_agent(connection, record.id, query.limit + 1, query.before)
        total = exchanges.count(connection, record.id)
    shown = [payloads_agents.exchange(row) for row in said[: query.limit]]
    more = shown[-1]["seq"] if len(said) > query.limit else None
    return {"exchanges": shown, "total": total, "next": more}


def _answer(record: Agent) -> dict[str, Any]:
    with services().database.read() as connection:
        return payloads_agents.agent(connection, record, now())
