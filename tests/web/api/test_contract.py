"""A route takes and answers what its decorator says."""

from __future__ import annotations

from typing import Any

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
