"""Tokens are made, listed and revoked over the API; a secret is answered once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.web.conftest import Site

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
