"""Answers that are errors, as the errors that the server raised.

It knows no connection.
"""

from __future__ import annotations

from typing import Any

from branchtrack import errors
from branchtrack.errors import BranchtrackError
from branchtrack.schemas.errors import ErrorAnswer

#: The class of an error that is none of `errors`, by the status of its answer.
_BY_STATUS: dict[int, type[BranchtrackError]] = {
    400: errors.InvalidInput,
    401: errors.Forbidden,
    403: errors.Forbidden,
    404: errors.NotFound,
    405: errors.InvalidInput,
    413: errors.InvalidInput,
    415: errors.InvalidInput,
    422: errors.InvalidInput,
    429: errors.RateLimited,
    503: errors.StorageError,
    504: errors.NotAnswered,
}
#: What each class has in every case, although an answer may not say it.
_USUAL: dict[type[BranchtrackError], dict[str, Any]] = {
    errors.InvalidInput: {"field": "", "value": None, "allowed": ""},
    errors.NotFound: {"kind": "", "ref": "", "near": ()},
    errors.Forbidden: {"actor": "", "role": ""},
    errors.RateLimited: {"actor": "", "limit": 0},
}


def error_of(status: int, content: bytes) -> BranchtrackError:
    """Return the error that an answer tells of, with its sentences, field and facts."""
    try:
        problem = ErrorAnswer.model_validate_json(content).error
    except ValueError:
        return BranchtrackError(
            f"The server answered with the status {status} and no error of branchtrack's.",
            fix="Check that the URL is that of `branchtrack serve`, with its --url-prefix.",
            status=status,
        )
    kind = getattr(errors, problem.type, None)
    if not (isinstance(kind, type) and issubclass(kind, BranchtrackError)):
        kind = _BY_STATUS.get(status, BranchtrackError)
    usual = next((facts for each, facts in _USUAL.items() if issubclass(kind, each)), {})
    # Each class words its own message: this one was worded by the server.
    error = kind.__new__(kind)
    sentences = {"safe": problem.safe, "fix": problem.fix}
    BranchtrackError.__init__(error, problem.what, **sentences, **{**usual, **problem.facts})
    return error
