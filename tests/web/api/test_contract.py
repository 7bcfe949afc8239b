"""A route takes and answers what its decorator says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from branchtrack.db import tokens
from branchtrack.web.api import contract
from branchtrack.web.api.contract import Contract
from branchtrack.web.app import create_app
from tests.web.api.test_curves import ask
from tests.web.conftest import Site, client_of


def problem(own: Site, path: str) -> Any:
    answer = own.client.get(f"/api/v1/{path}")
    assert answer.status_code == 422
    return answer.get_json()["error"]


def test_the_keys_of_every_answer_can_be_chosen(own: Site) -> None:
    node = own.node("main")
    assert ask(own, "runs?fields=name") == {"runs": [{"name": "digits"}], "total": 1, "next": None}
    assert ask(own, f"nodes/{node}?fields=id,settings.lr") == {"id": node, "settings": {"lr": 5e-3}}
    assert ask(own, "runs/digits/tree?fields=nodes.step") == {"nodes": [{"step": 0}, {"step": 40}]}
    assert set(ask(own, "curve?branch=digits&fields=next,reset")) == {"next", "reset"}


def test_a_key_that_no_answer_has_is_refused_with_those_there_are(own: Site) -> None:
    error = problem(own, "runs?fields=nmae")
    assert error["field"] == "fields" and "name" in error["facts"]["allowed"]


def test_an_unknown_parameter_is_refused(own: Site) -> None:
    assert problem(own, "runs?limt=5")["field"] == "limt"
    assert problem(own, "runs/digits?limit=5")["facts"]["allowed"] == "fields"


def test_who_may_not_do_it_is_told_so_before_anything_else(own: Site) -> None:
    with own.database.transaction() as connection:
        _token, secret = tokens.create(connection, "bot", "agent", created_by="test")
    app = create_app(own.config, own.database, own.store, token="own")
    headers = {"Authorization": f"Bearer {secret}"}
    for method, path in (("PATCH", "runs/nope"), ("POST", "tokens"), ("DELETE", "trash/nope")):
        answer = client_of(app).open(f"/api/v1/{path}", method=method, json={}, headers=headers)
        assert answer.status_code == 403


def test_a_contract_names_the_roles_that_may() -> None:
    assert Contract({}).roles == ["viewer", "operator", "agent", "admin"]
    assert Contract({}, deed="purge").roles == ["admin"]
    assert contract.of(lambda: None) is None


@pytest.mark.parametrize("text", ["a\x00b", "half \ud800"])
def test_a_reason_that_no_database_can_hold_is_refused_by_every_route(own: Site, text: str) -> None:
    run, branch = "/api/v1/runs/digits", "/api/v1/runs/digits/branches/main"
    node = f"/api/v1/nodes/{own.node('main')}"
    routes = [
        ("PATCH", run, {"notes": "x"}),
        ("PATCH", branch, {"notes": "x"}),
        ("PATCH", node, {"add_tags": ["x"]}),
        ("POST", f"{branch}/requests", {"kind": "pause"}),
        ("POST", f"{node}/resume", {"dry_run": True}),
        ("POST", f"{branch}/continue", {}),
    ]
    for method, path, fields in routes:
        body = json.dumps({**fields, "reason": text})
        answer = own.client.open(path, method=method, data=body, content_type="application/json")
        assert (answer.status_code, answer.get_json()["error"]["field"]) == (422, "reason"), path
    body = json.dumps({"notes": text})
    answer = own.client.patch(run, data=body, content_type="application/json")
    assert (answer.status_code, answer.get_json()["error"]["field"]) == (422, "notes")


@pytest.mark.parametrize("path", ["runs/digits", "runs/digits/branches/main"])
def test_a_reason_in_an_address_is_refused_as_one_in_a_body(own: Site, path: str) -> None:
    answer = own.client.delete(f"/api/v1/{path}?reason=a%00b")
    assert (answer.status_code, answer.get_json()["error"]["field"]) == (422, "reason")


@pytest.mark.parametrize("method", ["post", "delete"])
@pytest.mark.parametrize(
    ("address", "body", "status", "field"),
    [
        ("?zz=1", None, 422, "zz"),
        ("", b'{"nonsense": 1}', 422, "nonsense"),
        ("", b"[]", 422, "body"),
        ("", b"{bad json", 400, "body"),
        ("", b"{}", 200, None),
        ("", b"", 200, None),
    ],
)
def test_what_a_route_does_not_take_is_refused(
    own: Site, method: str, address: str, body: bytes | None, status: int, field: str | None
) -> None:
    node = own.lines["main"].head
    assert node is not None
    path = f"/api/v1/nodes/{node.id}/pin{address}"
    answer = own.client.open(
        path, method=method, data=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == status, answer.text
    assert answer.get_json().get("error", {}).get("field") == field


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("runs/digits%00", 400),
        ("curve?branch=digits%ff", 400),
        ("curve?branch=digits%00", 422),
        ("curve?branch=digits&metric=loss%00", 422),
    ],
)
def test_a_name_is_no_other_name_with_something_left_out(
    own: Site, address: str, status: int
) -> None:
    assert own.client.get(f"/api/v1/{address}").status_code == status


def test_a_path_that_is_no_text_is_refused(own: Site) -> None:
    path = {"PATH_INFO": "/api/v1/runs/\xff\xfe"}
    assert own.client.get("/", environ_overrides=path).status_code == 400
