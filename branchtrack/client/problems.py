"""Answers as models; those that are errors, as the errors that the server raised.

It knows no connection.
"""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel

from branchtrack import errors
from branchtrack.errors import BranchtrackError
from branchtrack.schemas.errors import ErrorAnswer

Model = TypeVar("Model", bound=BaseModel)

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
#: Names that a fact of an answer cannot have: its error has others by them.
_TAKEN = {"self", "what", "safe", "fix", "facts", *dir(BranchtrackError)}
_OTHER_SERVER = "Check that the URL is that of `branchtrack serve`, with its --url-prefix."


def error_of(status: int, content: bytes) -> BranchtrackError:
    """Return the error that an answer tells of, with its sentences, field and facts."""
    try:
        problem = ErrorAnswer.model_validate_json(content).error
    except ValueError:
        return BranchtrackError(
            f"The server answered with the status {status} and no error of branchtrack's.",
            fix=_OTHER_SERVER,
            status=status,
        )
    kind = getattr(errors, problem.type, None)
    if not (isinstance(kind, type) and issubclass(kind, BranchtrackError)):
        kind = _BY_STATUS.get(status, BranchtrackError)
    usual = next((facts for each, facts in _USUAL.items() if issubclass(kind, each)), {})
    # Each class words its own message: this one was worded by the server.
    error = kind.__new__(kind)
    sentences = {"safe": problem.safe, "fix": problem.fix}
    facts = {name: value for name, value in problem.facts.items() if name not in _TAKEN}
    BranchtrackError.__init__(error, problem.what, **sentences, **{**usual, **facts})
    return error


def answer_of(model: type[Model], content: str | bytes) -> Model:
    """Return the content of an answer as its model.

    Raises:
        BranchtrackError: it is not that; something other than branchtrack's API has answered.
    """
    try:
        return model.model_validate_json(content)
    except ValueError as error:
        start = content[:80].decode("utf-8", "replace") if isinstance(content, bytes) else content
        raise BranchtrackError(
            f"The server's answer is not that of branchtrack's API: it is no {model.__name__}, and "
            f"begins with {errors.shown(start)}.",
            safe="Whether a request was carried out is not known.",
            fix=_OTHER_SERVER + " Another version of branchtrack may answer there.",
        ) from error
