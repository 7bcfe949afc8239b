"""Bodies of the protocol of Interactive Training 2."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from branchtrack.schemas.bases import Body, Values


class ActionBody(Body):
    """An action; ``source`` is what its sender calls itself, which proves nothing."""

    type: str = Field(min_length=1)
    payload: Values | None = None
    id: str | None = None
    source: str = ""
    reason: str = ""
    v: Any = None
    ts: Any = None
