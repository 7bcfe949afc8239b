"""The API, asked at random from its own document: no fault of the server, no answer beyond it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from branchtrack.web.access import guards
from branchtrack.web.access.limits import Limit
from tests.web.conftest import Site
from tests.web.pages.test_agents import hire, propose

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)
#: A stream has no end to wait for.
STREAM = "/api/v1/runs/{run}/events"
FEW, MANY = 6, 150


@pytest.fixture
def unlimited(own: Site) -> Iterator[Site]:
    """A site that lets one caller make as many requests as it likes."""
    limits = guards.limits(own.app)
    limits.all = limits.refused = limits.work = Limit(rate=1e9, burst=1e9)
    yield own


def names(own: Site) -> dict[str, list[str]]:
    """What there is, by the parameter that names it."""
    node, client = own.node("main"), own.client
    note = {"kind": "note", "text": "hm"}
    asked = client.post("/api/v1/runs/digits/branches/main/requests", json=note)
    ordered = client.post(f"/api/v1/nodes/{node}/resume", json={"name": "side"})
    agent = hire(own)
    proposal = propose(own, agent, lr=1e-3)
    return {
        "agent": [agent.id],
        "proposal": [proposal.id],
        "run": ["digits", own.lines["main"].grower.run.id],
        "branch": ["main", "side", "digits/main"],
        "node_id": [node, "digits@0"],
        "a": [node, "digits/main"],
        "b": ["digits/main"],
        "request_id": [asked.get_json()["id"]],
        "launch_id": [ordered.get_json()["launch"]],
    }


def fuzz(own: Site, examples: int, mode: GenerationMode) -> None:
    """Ask every route so many times, half of them of what there is."""
    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", own.app)
    present = names(own)
    own.lines["main"].beat()
    operations = [result.ok() for result in schema.get_all_operations()]
    # What renames and deletes comes last: the others are asked of what there is.
    for operation in sorted(operations, key=lambda each: each.method in ("patch", "delete")):
        if operation.path == STREAM:
            continue
        check(operation, mode, present, examples)


def check(
    operation: Any, mode: GenerationMode, present: dict[str, list[str]], examples: int
) -> None:
    """Ask one route."""

    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @hypothesis.given(
        case=operation.as_strategy(generation_mode=mode),
        is_real=hypothesis.strategies.booleans(),
        chosen=hypothesis.strategies.randoms(use_true_random=False),
    )
    def ask(case: Any, is_real: bool, chosen: Any) -> None:
        for values in (case.path_parameters, case.query):
            for name in set(values or ()) & set(present) if is_real else ():
                values[name] = chosen.choice(present[name])
        # A document cannot say that chosen keys are left out.
        chooses = "fields" in (case.query or {})
        checks = [each for each in CHECKS if not (chooses and each is response_schema_conformance)]
        # The transport of this library does not decompress.
        case.call_and_validate(checks=checks, headers={"Accept-Encoding": "identity"})

    ask()


def test_what_is_valid_by_the_document_is_answered_as_it_says(unlimited: Site) -> None:
    fuzz(unlimited, FEW, GenerationMode.POSITIVE)


def test_what_is_not_valid_is_refused_as_the_document_says(unlimited: Site) -> None:
    fuzz(unlimited, FEW, GenerationMode.NEGATIVE)


@pytest.mark.exhaustive
@pytest.mark.timeout(900)
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_many_requests_are_answered_as_the_document_says(
    unlimited: Site, mode: GenerationMode
) -> None:
    fuzz(unlimited, MANY, mode)
