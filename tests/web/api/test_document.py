"""The document of the API: all of its routes, valid, and with nothing that leads nowhere."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from tests.web.conftest import Site

PATH = "/api/v1/openapi.json"


def test_every_route_is_in_it_with_its_errors(site: Site) -> None:
    document = site.client.get(PATH).get_json()
    assert document["openapi"].startswith("3.1") and document["security"] == [{"token": []}]
    expected = {
        (re.sub(r"<(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in site.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule.startswith("/api/")
    }
    operations = {
        (path, method): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert set(operations) == expected
    for operation in operations.values():
        error = operation["responses"]["422"]["content"]["application/json"]["schema"]
        assert error == {"$ref": "#/components/schemas/ErrorAnswer"}
        assert ("415" in operation["responses"]) == ("requestBody" in operation)
        assert operation["summary"] and operation["x-roles"]


def test_every_reference_leads_somewhere_and_every_model_is_used(site: Site) -> None:
    document = site.client.get(PATH).get_json()
    references = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert references == set(document["components"]["schemas"])


def test_a_parameter_is_text_and_never_null(site: Site) -> None:
    document = site.client.get(PATH).get_json()
    for methods in document["paths"].values():
        for operation in methods.values():
            assert '"null"' not in json.dumps(operation["parameters"])
    (points,) = [
        parameter["schema"]
        for parameter in document["paths"]["/api/v1/curve"]["get"]["parameters"]
        if parameter["name"] == "points"
    ]
    assert points["anyOf"][0] == {"type": "integer", "minimum": 4, "maximum": 100_000}


def test_a_stream_and_a_pause_are_documented(site: Site) -> None:
    document = site.client.get(PATH).get_json()
    responses = document["paths"]["/api/v1/runs/{run}/events"]["get"]["responses"]
    assert list(responses["200"]["content"]) == ["text/event-stream"]
    assert "Retry-After" in responses["503"]["headers"]


@pytest.mark.parametrize("prefix", ["", "/tracker"])
def test_its_paths_are_below_the_prefix_of_the_server(site: Site, prefix: str) -> None:
    answer = site.client.get(PATH, environ_overrides={"SCRIPT_NAME": prefix})
    assert answer.get_json()["servers"] == [{"url": prefix or "/"}]


def test_commands_do_without_its_libraries() -> None:
    code = "import sys, branchtrack.cli.main; print({'spectree', 'httpx2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
