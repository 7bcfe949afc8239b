"""Tokens are made, listed and revoked over the API; a secret is answered once."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack.web.app import create_app
from tests.web.conftest import Site, client_of

PATH = "/api/v1/tokens"
BOT = {"name": "bot", "role": "agent"}


def test_a_secret_is_in_the_answer_that_makes_the_token_alone(empty: Site) -> None:
    answer = empty.client.post(PATH, json={**BOT, "only": ["lr"], "max_per_1000_steps": 5})
    assert answer.status_code == 201 and answer.headers["Cache-Control"] == "no-store"
    created = answer.get_json()
    assert (created["only"], created["max_per_1000_steps"]) == (["lr"], 5)
    listed = empty.client.get(PATH)
    assert created.pop("secret") not in listed.get_data(as_text=True)
    assert listed.get_json() == {"tokens": [created], "total": 1, "next": None}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"limit": 1}, "limit"),
        ({"only": "lr"}, "only"),
        ({"only": ["lr", 1]}, "only"),
        ({"max_per_1000_steps": True}, "max_per_1000_steps"),
        ({"max_per_1000_steps": 1.5}, "max_per_1000_steps"),
        ({"role": 5}, "role"),
        ({"role": "root"}, "role"),
        ({"name": 1}, "name"),
    ],
)
def test_what_makes_no_token_is_refused_by_its_field(
    empty: Site, body: dict[str, Any], field: str
) -> None:
    answer = empty.client.post(PATH, json={**BOT, **body})
    assert answer.status_code == 422
    assert answer.get_json()["error"]["field"] == field
    assert empty.client.get(PATH).get_json()["tokens"] == []


def test_a_token_is_revoked_once(empty: Site) -> None:
    empty.client.post(PATH, json=BOT)
    assert empty.client.delete(f"{PATH}/bot").get_json()["revoked_at"] is not None
    assert empty.client.delete(f"{PATH}/bot").status_code == 404


def test_a_caller_is_told_who_it_is_and_what_it_may(own: Site) -> None:
    me = own.client.get("/api/v1/whoami").get_json()
    assert me["role"] == "admin" and me["actor"].endswith(" (api)")
    assert (me["only"], me["max_per_1000_steps"]) == (None, None) and "purge" in me["may"]
    app = create_app(own.config, own.database, own.store, token="own")
    body = {**BOT, "only": ["lr"], "max_per_1000_steps": 5}
    secret = own.client.post(PATH, json=body).get_json()["secret"]
    headers = {"Authorization": f"Bearer {secret}"}
    bot = client_of(app).get("/api/v1/whoami", headers=headers).get_json()
    assert bot == {
        "actor": "bot (agent)",
        "role": "agent",
        "only": ["lr"],
        "max_per_1000_steps": 5,
        "may": ["cancel", "launch", "request"],
    }


def test_tokens_come_page_by_page(empty: Site) -> None:
    for name in "abc":
        empty.client.post(PATH, json={**BOT, "name": name})
    page = empty.client.get(f"{PATH}?limit=2").get_json()
    assert ([token["name"] for token in page["tokens"]], page["next"]) == (["a", "b"], "b")
    page = empty.client.get(f"{PATH}?limit=2&after=b").get_json()
    assert ([token["name"] for token in page["tokens"]], page["next"]) == (["c"], None)
