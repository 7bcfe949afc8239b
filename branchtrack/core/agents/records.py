"""Alerts, agents and exchanges as values; times are seconds since 1970 (UTC)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Alert:
    """Something that was noticed about a training, or that its script raised.

    ``kind`` as in `core.health.alerts`, ``level``: ``info``, ``warn`` or ``error``. ``step`` is the
    first update that it is about, ``node_id`` the node that ``offer`` begins from: a fork that
    would mend it, with ``node step settings name``. ``key`` is the same for what two processes
    notice of one event.
    """

    seq: int
    id: str
    run_id: str
    branch_id: str
    segment_id: str | None
    node_id: str | None
    kind: str
    level: str
    text: str
    step: int | None
    metric: str | None
    value: float | None
    offer: dict[str, Any] | None
    key: str
    created_at: float
    seen_at: float | None = None
    seen_by: str | None = None
    delivered_at: float | None = None
    delivery: dict[str, Any] | None = None
    logged_seq: int | None = None


@dataclass(frozen=True)
class Agent:
    """A policy or a language model that watches a run; ``mode``: observe, propose or act.

    ``branch`` is the name of the branch that it follows, None for all. ``budget`` is what it may
    use, ``spent`` what it has used (see `core.agents.budgets`). ``memory`` is what it needs after
    its process was started again. ``stop`` names who wants it to end.
    """

    id: str
    run_id: str
    name: str
    policy: str
    mode: str
    branch: str | None
    options: dict[str, Any]
    budget: dict[str, Any]
    spent: dict[str, Any]
    memory: dict[str, Any]
    state: str
    note: str
    step: int | None
    actor: str
    channel: str
    host: str | None
    pid: int | None
    process: str | None
    stop: str | None
    created_at: float
    heartbeat_at: float | None
    ended_at: float | None


@dataclass(frozen=True)
class Exchange:
    """One question to a language model and its answer, whatever came of it.

    ``prompt`` are the messages as they were sent, ``answer`` the text as it came. ``outcome``:
    ``answered`` (nothing has come of it yet), ``nothing`` (it wants no change), ``observed`` (what
    it wants was only recorded), ``proposed``, ``acted``, ``refused`` (at the door), ``malformed``
    or ``failed``. ``cost`` is in US dollars.
    """

    seq: int
    id: str
    run_id: str
    branch_id: str
    agent_id: str
    request_id: str | None
    launch_id: str | None
    step: int | None
    model: str
    prompt: list[dict[str, Any]]
    answer: str
    outcome: str
    error: str | None
    tokens_in: int | None
    tokens_out: int | None
    cost: float | None
    seconds: float
    created_at: float
    logged_seq: int | None = None
