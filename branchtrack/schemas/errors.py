"""The one shape of every error."""

from __future__ import annotations

from branchtrack.schemas.bases import Answer, Values


class Problem(Answer):
    """What happened, what is safe and what to do.

    ``type`` is a class of `branchtrack.errors`, ``Refused``, or the name of an HTTP error.
    ``field`` is the field at fault; ``facts`` are further values, by name.
    """

    type: str
    what: str
    safe: str
    fix: str
    field: str | None
    facts: Values


class StatusProblem(Problem):
    """An error of an answer, with the status of it."""

    status: int


class ErrorAnswer(Answer):
    """The answer to what was refused, or failed."""

    error: StatusProblem
