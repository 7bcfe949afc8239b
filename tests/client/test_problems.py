"""Errors of the server are raised as what they are."""

from __future__ import annotations

import json
from typing import Any

import pytest

from branchtrack import errors
from branchtrack.client.problems import answer_of, error_of
from branchtrack.error_payload import error_payload
from branchtrack.errors import BranchtrackError
from branchtrack.schemas.access import Caller

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


def test_facts_by_the_names_of_its_sentences_are_left_out() -> None:
    facts = {"what": 1, "self": 2, "args": 3, "with_traceback": 4, "near": ["digits"]}
    problem = {"type": "NotFound", "what": "No.", "safe": "", "fix": "", "field": None}
    error = error_of(404, content(**problem, facts=facts, status=404))
    assert error.what == "No." and error.facts["near"] == ["digits"] and "self" not in error.facts


@pytest.mark.parametrize("answer", [b"", b"<html>Hello</html>", b"[]", b"{}", b"\xff", "{"])
def test_an_answer_that_is_not_the_apis_says_so(answer: str | bytes) -> None:
    with pytest.raises(BranchtrackError, match=r"not that of branchtrack's API.*Caller") as caught:
        answer_of(Caller, answer)
    assert "--url-prefix" in caught.value.fix and "pydantic" not in str(caught.value)
