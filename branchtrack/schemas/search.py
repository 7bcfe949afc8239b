"""The search over nodes of all runs."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from branchtrack.schemas.bases import Answer, Selection, Values, Whole
from branchtrack.schemas.nodes import TreeNode


class FindQuery(Selection):
    """Which nodes, the newest first."""

    q: str = Field("", description="The query; every node without it.")
    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    after: Whole | None = Field(None, description="`next` of the page before.")


class Match(TreeNode):
    """A node that a query matches; ``status`` is that of its branch."""

    run: str
    status: str
    tags: list[str]
    settings: Values


class MatchPage(Answer):
    """Matching nodes, the newest first."""

    items: ClassVar[str] = "nodes"

    nodes: list[Match]
    next: int | None
