"""Agents: what they propose, who works, what they used, and what they and their models said."""

from __future__ import annotations

from flask import Blueprint, Response, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from branchtrack import control
from branchtrack.control.proposals import agent_orders
from branchtrack.core.agents.policies.registry import POLICIES
from branchtrack.db import runs
from branchtrack.db.watching import agents as rows
from branchtrack.web.access.guards import actor
from branchtrack.web.input import query
from branchtrack.web.rendering import now, respond
from branchtrack.web.services import services
from branchtrack.web.view import agents

blueprint = Blueprint("agents", __name__)
#: The limits of a budget that a form can change.
_LIMITS = ("interventions", "branches", "tokens", "dollars")


@blueprint.get("/agents")
def index() -> Response:
    """Return the page; ``run`` in the address chooses one run."""
    name = request.args.get("run", "").strip()
    if not services().database.read_only:
        agents.expire(services().database)
    with services().database.read() as connection:
        run_id = runs.find_run(connection, name).id if name else None
        waiting = agents.proposals(connection, run_id)
        lines = agents.listed(connection, run_id)
    return respond(
        "agents/index.html",
        run=name,
        proposals=waiting,
        agents=lines,
        modes=agent_orders.MODES,
        policies=POLICIES,
        now=now,
    )


@blueprint.get("/agents/<agent>")
def show(agent: str) -> Response:
    """Return one agent: its budget, what it asked for, and its exchanges with a model."""
    with services().database.read() as connection:
        record = rows.find(connection, agent)
        line, asked, described, said, older = agents.page(
            connection, record, query.whole("before", 1)
        )
    return respond(
        "agents/show.html",
        line=line,
        requests=asked,
        described=described,
        exchanges=said,
        older=older,
        modes=agent_orders.MODES,
        limits=_LIMITS,
    )


@blueprint.post("/agents/<agent>")
def change(agent: str) -> AnyResponse:
    """Give an agent another mode and other limits, and show it."""
    limits = {name: request.form[name].strip() for name in _LIMITS if name in request.form}
    changed = agent_orders.change(
        services().database,
        agent,
        actor=actor(),
        mode=request.form.get("mode") or None,
        budget={name: text or None for name, text in limits.items()},
    )
    return redirect(url_for("agents.show", agent=changed.id), 303)


@blueprint.post("/agents/<agent>/stop")
def stop(agent: str) -> AnyResponse:
    """Have an agent end."""
    agent_orders.stop(services().database, agent, actor=actor())
    return redirect(url_for("agents.index"), 303)


@blueprint.post("/proposals/<proposal>/approve")
def approve(proposal: str) -> AnyResponse:
    """Have a proposal carried out."""
    control.approve(
        services().database,
        services().store,
        proposal,
        actor=actor(),
        home=services().config.home,
    )
    return redirect(url_for("agents.index"), 303)


@blueprint.post("/proposals/<proposal>/decline")
def decline(proposal: str) -> AnyResponse:
    """Say no to a proposal."""
    reason = request.form.get("reason", "")
    control.decline(services().database, proposal, actor=actor(), reason=reason)
    return redirect(url_for("agents.index"), 303)
