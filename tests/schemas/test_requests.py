"""A request is an intervention with its conditions, of exactly the kinds that there are."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from branchtrack.core import lifecycle
from branchtrack.core.interventions import INTERVENTIONS
from branchtrack.core.preconditions import NAMES
from branchtrack.schemas.requests import Conditions, Request, RequestBody, WaitQuery


def test_every_kind_can_be_asked_for_with_its_own_fields() -> None:
    schema = RequestBody.model_json_schema()
    assert set(schema["discriminator"]["mapping"]) == set(INTERVENTIONS)
    for kind, reference in schema["discriminator"]["mapping"].items():
        fields = schema["$defs"][reference.rpartition("/")[2]]["properties"]
        assert set(fields) == {*INTERVENTIONS[kind].model_fields, *Conditions.model_fields}


def test_every_condition_has_a_field() -> None:
    assert {*NAMES, "reason", "key", "kind", "propose"} == set(Conditions.model_fields)


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "no"},
        {"kind": "pause", "values": {}},
        {"kind": "pause", "expires_in": 0},
        {"kind": "pause", "key": ""},
    ],
)
def test_what_no_run_can_be_asked_for_does_not_fit(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RequestBody.model_validate(body)


@pytest.mark.parametrize("wait", ["31", "nan", "-1", "x"])
def test_a_wait_is_of_seconds_that_the_server_has(wait: str) -> None:
    with pytest.raises(ValidationError):
        WaitQuery.model_validate({"wait": wait})


def test_a_request_has_ended_in_the_states_in_which_nothing_more_comes() -> None:
    ended = {
        state for state in lifecycle.REQUEST_ENDS if Request.model_construct(state=state).has_ended
    }
    assert ended == lifecycle.REQUEST_ENDS
    assert not Request.model_construct(state="accepted").has_ended
