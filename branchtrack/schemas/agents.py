"""Agents, what they propose, and what they and their models said."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from branchtrack.schemas.bases import Answer, Body, Moment, Reason, Selection, Values
from branchtrack.schemas.requests import Request


class AgentsQuery(Selection):
    """Whose agents or proposals."""

    run: str | None = Field(None, description="The run; all runs without it.")


class ExchangesQuery(Selection):
    """Which exchanges of an agent, newest first."""

    limit: Annotated[int, Field(ge=1, le=500)] = 50
    before: Annotated[int, Field(ge=1, le=2**53)] | None = Field(
        None, description="`next` of the page before."
    )


class ForkProposalBody(Body):
    """A fork that is to wait for a person's yes."""

    settings: Values = Field(default_factory=dict)
    name: str | None = None
    mode: Literal["exact", "weights"] | None = None
    reason: Reason = Field("", description="Why; agents must give one.")
    expires_in: float | None = Field(None, gt=0, le=366 * 86400, description="Seconds.")


class DeclineBody(Body):
    """Why a proposal is declined."""

    reason: Reason = ""


class AgentBody(Body):
    """Another mode of an agent, or other limits by name; null is no limit."""

    mode: Literal["observe", "propose", "act"] | None = None
    budget: dict[str, float | int | None] = Field(default_factory=dict)


class Proposal(Request):
    """A request that waits for a decision; ``asked_step`` is the step that its maker saw."""

    run: str
    branch: str
    agent: str | None
    expires_at: Moment | None
    decided_by: str | None


class ProposalList(Answer):
    """What waits for a decision, the oldest first."""

    items: ClassVar[str] = "proposals"

    proposals: list[Proposal]


class Agent(Answer):
    """A policy or a language model that watches a run."""

    id: str
    name: str
    run: str
    branch: str | None
    policy: str
    mode: str
    state: str
    step: int | None
    note: str
    options: Values
    budget: Values
    spent: Values
    actor: str
    stop: str | None
    created_at: Moment
    heartbeat_at: Moment | None
    ended_at: Moment | None


class AgentList(Answer):
    """Agents, the newest first."""

    items: ClassVar[str] = "agents"

    agents: list[Agent]


class Exchange(Answer):
    """A question to a language model, its answer, and what came of it."""

    seq: int
    id: str
    step: int | None
    model: str
    outcome: str
    request: str | None
    launch: str | None
    error: str | None
    tokens_in: int | None
    tokens_out: int | None
    cost: float | None
    seconds: float
    created_at: Moment
    prompt: list[Values]
    answer: str


class ExchangePage(Answer):
    """Exchanges of an agent, newest first."""

    items: ClassVar[str] = "exchanges"

    exchanges: list[Exchange]
    total: int
    next: int | None
