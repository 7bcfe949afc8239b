"""Tokens on their page: made with their secret shown once, listed, revoked."""

from __future__ import annotations

import pytest

from branchtrack.core.actors import ROLES
from branchtrack.db import tokens
from branchtrack.web.pages.account.tokens import ROLE_WORDS
from tests.web import dom
from tests.web.conftest import Site


def secrets_on(page: dom.Element) -> list[str]:
    return [one.text for one in page.all("pre") if one.text.startswith(tokens.PREFIX)]


def test_every_role_has_words() -> None:
    assert set(ROLE_WORDS) == set(ROLES)


def test_a_token_is_made_and_its_secret_is_shown_once(own: Site) -> None:
    assert "No tokens yet." in own.get("/tokens").text
    data = {"name": "tuner", "role": "agent", "only": "lr, data.*", "max_per_1000_steps": "20"}
    answer = own.client.post("/tokens", data=data)
    assert answer.status_code == 201 and answer.headers["Cache-Control"] == "no-store"
    (secret,) = secrets_on(dom.parse(answer.get_data(as_text=True)))
    with own.database.read() as connection:
        token = tokens.find_secret(connection, secret)
    assert token is not None
    assert (token.role, token.only, token.limit) == ("agent", ("lr", "data.*"), 20)
    page = own.get("/tokens")
    assert secret not in page.text and secrets_on(page) == []
    (row,) = page.table("Tokens")
    assert (row["token"], row["role"], row["for"]) == ("tuner", "agent", "lr, data.*")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "with space"),
        ("role", "king"),
        ("max_per_1000_steps", "many"),
        ("max_per_1000_steps", "0"),
        ("only", ", ,"),
        ("expires", "tomorrow"),
    ],
)
def test_what_is_wrong_makes_no_token_and_stays_as_typed(own: Site, field: str, value: str) -> None:
    page = own.post("/tokens", 422, **{"name": "tuner", "role": "viewer", field: value})
    assert page.one(role="alert").text
    if field not in ("role", "expires"):
        (wrong,) = page.all(aria_invalid="true")
        assert (wrong["name"], wrong["value"]) == (field, value)
    with own.database.read() as connection:
        assert tokens.list_all(connection) == []


def test_a_name_that_is_taken_is_refused(own: Site) -> None:
    own.post("/tokens", 201, name="ann", role="viewer")
    assert "ann-2" in own.post("/tokens", 422, name="ann", role="viewer").one(role="alert").text


def test_a_revoked_token_gives_no_access_and_says_since_when(own: Site) -> None:
    own.post("/tokens", 201, name="ann", role="viewer")
    (button,) = own.get("/tokens").by_role("button", "Revoke ann")
    assert button is not None
    answer = own.client.post("/tokens/ann/revoke")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/tokens#list")
    page = own.get("/tokens")
    assert "revoked just now" in page.text and not page.by_role("button", "Revoke ann")
    own.post("/tokens/ann/revoke", 404)
