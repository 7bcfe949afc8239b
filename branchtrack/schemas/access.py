"""Who asks, and tokens."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from branchtrack.schemas.bases import Answer, Body, Moment, Selection


class TokensQuery(Selection):
    """Which tokens, in order of creation."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 200
    after: str | None = Field(None, description="`next` of the page before.")


class TokenBody(Body):
    """A token to be made."""

    name: str
    role: Literal["viewer", "operator", "agent", "admin"]
    only: list[str] | None = Field(None, description="Names of settings and actions, or patterns.")
    max_per_1000_steps: int | None = Field(None, ge=1, le=10**9)


class Token(Answer):
    """A token, without its secret."""

    name: str
    role: str
    only: list[str] | None
    max_per_1000_steps: int | None
    created_by: str
    created_at: Moment
    used_at: Moment | None
    revoked_at: Moment | None


class NewToken(Token):
    """A token with its secret, which is never in another answer."""

    secret: str


class TokenPage(Answer):
    """Tokens in order of creation."""

    items: ClassVar[str] = "tokens"

    tokens: list[Token]
    total: int
    next: str | None


class Caller(Answer):
    """Who asks, as in records; what its token is for (null: nothing bounds it), what it may do."""

    actor: str
    role: str
    only: list[str] | None
    max_per_1000_steps: int | None
    may: list[str]
