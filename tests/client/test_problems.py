"""Errors of the server are raised as what they are."""

from __future__ import annotations

import json
from typing import Any

import pytest

from branchtrack import errors
from branchtrack.client.problems import error_of
from branchtrack.error_payload import error_payload
from branchtrack.errors import BranchtrackError

RAISED = [
    errors.InvalidInput("lr", -1, "a number greater than 0"),
    errors.NameTaken("run", "digits", "digits-2"),
    errors.NotFound("run", "digts", ["digits"]),
    errors.NotLive("Nothing trains it.", branch="main", status="ended"),
    errors.Forbidden("No.", safe="Nothing was changed.", actor="bot", role="viewer"),
    errors.CheckpointThinned("ab12", "recipe"),
]


def content(**problem: Any) -> bytes:
    return json.dumps({"error": problem}).encode()


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_an_error_comes_back_as_its_class_with_its_sentences(error: BranchtrackError) -> None:
    again = error_of(409, content(**error_payload(error), status=409))
    assert type(again) is type(error)
    assert (again.what, again.safe, again.fix) == (error.what, error.safe, error.fix)
    assert again.facts == json.loads(json.dumps(error.facts))


@pytest.mark.parametrize(
    ("status", "kind"), [(401, "Forbidden"), (415, "InvalidInput"), (429, "RateLimited")]
)
def test_what_the_server_refuses_by_itself_has_the_class_of_its_status(
    status: int, kind: str
) -> None:
    problem = {"type": "Refused", "what": "No.", "safe": "", "fix": "", "field": None, "facts": {}}
    error = error_of(status, content(**problem, status=status))
    assert type(error).__name__ == kind and error.what == "No."


def test_a_page_of_another_program_is_no_error_of_ours() -> None:
    error = error_of(502, b"<html>Bad gateway</html>")
    assert type(error) is BranchtrackError and "502" in error.what


def test_a_type_that_is_no_error_is_not_made() -> None:
    problem = {"type": "Any", "what": "No.", "safe": "", "fix": "", "field": None, "facts": {}}
    assert type(error_of(500, content(**problem, status=500))) is BranchtrackError
