"""An error has one form as JSON, whatever facts it has."""

from __future__ import annotations

import json
from pathlib import Path

from branchtrack.error_payload import error_payload, jsonable
from branchtrack.errors import BranchtrackError, InvalidInput


def test_an_error_of_a_field_names_it() -> None:
    payload = error_payload(InvalidInput("lr", -1, "a positive number"))
    assert (payload["type"], payload["field"]) == ("InvalidInput", "lr")
    assert payload["facts"]["value"] == -1
    assert payload["fix"] == "Allowed: a positive number."


def test_an_error_of_no_field_has_the_same_keys() -> None:
    keys = error_payload(InvalidInput("lr", -1, "")).keys()
    payload = error_payload(BranchtrackError("It failed."))
    assert payload.keys() == keys and payload["field"] is None


def test_facts_that_json_lacks_become_text() -> None:
    facts = {"path": Path("/a"), 3: (1, {2}), "none": None, "flag": True}
    assert jsonable(facts) == {"path": "/a", "3": [1, "{2}"], "none": None, "flag": True}
    json.dumps(error_payload(BranchtrackError("It failed.", path=Path("/a"))))
