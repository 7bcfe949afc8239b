"""The one shape of errors is that of the shell, with a status."""

from __future__ import annotations

from branchtrack.error_payload import error_payload
from branchtrack.errors import NotFound
from branchtrack.schemas.errors import ErrorAnswer, Problem


def test_an_error_is_read_with_all_that_it_says() -> None:
    payload = error_payload(NotFound("run", "digts", ["digits"]))
    assert set(Problem.model_fields) == set(payload)
    problem = ErrorAnswer.model_validate({"error": {**payload, "status": 404}}).error
    assert (problem.type, problem.facts["near"], problem.status) == ("NotFound", ["digits"], 404)
