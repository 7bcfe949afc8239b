"""Agents and their proposals, through the API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from branchtrack.client.calls import Calls, Values, path_of
from branchtrack.client.connection import mapping
from branchtrack.schemas.agents import (
    Agent,
    AgentList,
    Exchange,
    ExchangePage,
    Proposal,
    ProposalList,
)
from branchtrack.schemas.requests import Request


class Agents(Calls):
    """Methods about agents and what they propose."""

    def proposals(self, run: str | None = None) -> list[Proposal]:
        """Return what waits for a person's decision, the oldest first."""
        return self._get("/proposals", ProposalList, run=run).proposals

    def propose_fork(self, node: str, settings: Values | None = None, **fields: Any) -> Request:
        """Propose a fork of a node; ``fields`` as in `agents.ForkProposalBody`.

        A request is proposed by `request` with ``propose=True``.
        """
        body = {**fields, "settings": mapping("settings", settings)}
        return self._send("POST", path_of("/nodes/{node}/propose", node=node), Request, body)

    def approve(self, proposal: str) -> Request:
        """Have a proposal carried out."""
        path = path_of("/proposals/{proposal}/approve", proposal=proposal)
        return self._send("POST", path, Request)

    def decline(self, proposal: str, reason: str = "") -> Request:
        """Say no to a proposal."""
        path = path_of("/proposals/{proposal}/decline", proposal=proposal)
        return self._send("POST", path, Request, {"reason": reason})

    def agents(self, run: str | None = None) -> list[Agent]:
        """Return the agents of a run, or of all runs, the newest first."""
        return self._get("/agents", AgentList, run=run).agents

    def change_agent(self, agent: str, **fields: Any) -> Agent:
        """Give an agent another ``mode``, or other limits of its ``budget``."""
        return self._send("PATCH", path_of("/agents/{agent}", agent=agent), Agent, fields)

    def stop_agent(self, agent: str) -> Agent:
        """Have an agent end."""
        return self._send("POST", path_of("/agents/{agent}/stop", agent=agent), Agent)

    def exchanges(self, agent: str) -> Iterator[Exchange]:
        """Yield what an agent and its language model said, newest first."""
        path = path_of("/agents/{agent}/exchanges", agent=agent)
        yield from self._pages(path, ExchangePage, "before")
