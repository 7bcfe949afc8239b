"""Deleting, and the trash."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from branchtrack.schemas.bases import Answer, Moment, Query, Reason, Selection


class DeleteQuery(Query):
    """Why something is deleted."""

    reason: Reason = ""


class DeleteBranchQuery(DeleteQuery):
    """Why a branch is deleted, and whether with those that grew from it."""

    with_children: bool = False


class TrashQuery(Selection):
    """Which entries of the trash, the latest deleted first."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 200
    before: str | None = Field(None, description="`next` of the page before.")


class Entry(Answer):
    """A deleted run, or branches of one."""

    id: str
    kind: str
    name: str
    run: str
    branches: list[str]
    nodes: int
    deleted_at: Moment
    deleted_by: str
    reason: str
    purged_at: Moment


class TrashPage(Answer):
    """What is in the trash, the latest deleted first."""

    items: ClassVar[str] = "entries"

    entries: list[Entry]
    total: int
    next: str | None


class Deletion(Answer):
    """What was deleted, or came back, under one name."""

    name: str
    branches: list[str]
    nodes: int
