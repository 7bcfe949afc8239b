"""Tokens on the server: who each lets in, what for, and that its secret is nowhere."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from branchtrack.core.records import Token
from branchtrack.db import requests, tokens
from branchtrack.db.tables import tokens as rows
from branchtrack.web.app import create_app
from tests.web.conftest import Site, client_of

SERVER = "the-servers-own"
ASK = "/api/v1/runs/digits/branches/main/requests"
FORM = "/runs/digits/branches/main/steer?back=tree"


@pytest.fixture
def app(own: Site) -> Flask:
    """The small tree behind a server with a token of its own."""
    return create_app(own.config, own.database, own.store, token=SERVER)


def make(site: Site, role: str, **more: Any) -> tuple[Token, str]:
    with site.database.transaction() as connection:
        return tokens.create(connection, f"the-{role}", role, created_by="test", **more)


def asked(site: Site) -> list[tuple[str, str]]:
    with site.database.read() as connection:
        found = requests.list_of_run(connection, site.lines["main"].grower.run.id)
    return [(one.actor, one.state) for one in found]


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def signed_in(app: Flask, secret: str) -> FlaskClient:
    """A browser that opened the address with the token."""
    client = client_of(app)
    assert client.get(f"/?token={secret}").status_code == 303
    return client


def test_who_asks_is_what_the_token_says(own: Site, app: Flask) -> None:
    token, secret = make(own, "operator")
    body = {"kind": "pause", "reason": "x"}
    assert client_of(app).post(ASK, json=body, headers=bearer(secret)).status_code == 202
    browser = signed_in(app, secret)
    assert browser.post(FORM, data={"kind": "checkpoint"}).status_code == 303
    assert asked(own) == [("the-operator (operator)", "accepted")] * 2
    assert browser.post(FORM, data={"kind": "checkpoint", "actor": "root"}).status_code == 422
    with own.database.read() as connection:
        found = requests.list_of_run(connection, own.lines["main"].grower.run.id)
    channels = [(one.channel, one.token_id) for one in found]
    assert channels == [("web", token.id), ("web", token.id), ("api", token.id)]


def test_the_servers_own_token_is_the_users(own: Site, app: Flask) -> None:
    assert (
        client_of(app).post(ASK, json={"kind": "pause"}, headers=bearer(SERVER)).status_code == 202
    )
    assert asked(own)[0][0].endswith(" (api)")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("post", ASK),
        ("post", "/api/v1/requests/ID/cancel"),
        ("post", "/api/v1/nodes/NODE/resume"),
        ("post", "/api/v1/runs/digits/branches/main/preview"),
        ("post", FORM),
        ("post", "/nodes/NODE/resume"),
        ("post", "/runs/digits/branches/main/steer"),
        ("post", "/requests/ID/cancel"),
        ("get", "/api/v1/tokens"),
        ("post", "/api/v1/tokens"),
        ("delete", "/api/v1/tokens/the-viewer"),
    ],
)
def test_a_viewer_only_looks(own: Site, app: Flask, method: str, path: str) -> None:
    _token, secret = make(own, "viewer")
    client = client_of(app)
    asked_by_user = client.post(ASK, json={"kind": "pause"}, headers=bearer(SERVER)).json
    assert asked_by_user is not None
    path = path.replace("NODE", own.node("main")).replace("ID", asked_by_user["id"])
    body: dict[str, Any] = (
        {"json": {"kind": "stop"}} if "/api/" in path else {"data": {"kind": "stop"}}
    )
    answer = getattr(client, method)(path, headers=bearer(secret), **body)
    assert answer.status_code == 403, answer.get_data(as_text=True)
    assert client.get("/runs/digits", headers=bearer(secret)).status_code == 200
    states = [state for who, state in asked(own) if who == "the-viewer (viewer)"]
    assert set(states) <= {"rejected"}


def test_an_operator_makes_no_tokens_and_an_admin_does(own: Site, app: Flask) -> None:
    client, body = client_of(app), {"name": "new", "role": "agent", "only": ["lr"]}
    for role, status in (("operator", 403), ("admin", 201)):
        _token, secret = make(own, role)
        answer = client.post("/api/v1/tokens", json=body, headers=bearer(secret))
        assert answer.status_code == status
    assert answer.json is not None and answer.json["secret"].startswith(tokens.PREFIX)
    for bad in (
        {"limit": 1},
        {"only": "lr"},
        {"max_per_1000_steps": True},
        {"role": 5},
        {"name": 1},
    ):
        answer = client.post(
            "/api/v1/tokens", json={**body, "name": "z", **bad}, headers=bearer(secret)
        )
        assert answer.status_code == 422, bad
    listed = client.get("/api/v1/tokens", headers=bearer(secret))
    assert listed.json is not None and "new" in [one["name"] for one in listed.json["tokens"]]
    assert client.delete("/api/v1/tokens/new", headers=bearer(secret)).status_code == 200
    assert client.delete("/api/v1/tokens/new", headers=bearer(secret)).status_code == 404


def test_an_agent_says_why_and_asks_for_its_own_settings_so_often(own: Site, app: Flask) -> None:
    _token, secret = make(own, "agent", only=["lr"], limit=1)
    client = client_of(app)

    def ask(status: int, **body: Any) -> None:
        assert client.post(ASK, json=body, headers=bearer(secret)).status_code == status

    ask(422, kind="set", values={"lr": 1e-3})
    ask(403, kind="set", values={"weight_decay": 0.1}, reason="why")
    ask(202, kind="set", values={"lr": 1e-3}, reason="why")
    ask(429, kind="set", values={"lr": 2e-3}, reason="why")


def test_a_revoked_token_lets_nobody_in_nor_its_cookie(own: Site, app: Flask) -> None:
    _token, secret = make(own, "operator")
    browser = signed_in(app, secret)
    assert browser.get("/").status_code == 200
    with own.database.transaction() as connection:
        tokens.revoke(connection, "the-operator")
    assert browser.get("/").status_code == 401
    assert client_of(app).get("/", headers=bearer(secret)).status_code == 401


def test_a_stream_that_is_open_ends_when_its_token_is_revoked(own: Site, app: Flask) -> None:
    _token, secret = make(own, "viewer")
    answer = client_of(app).get("/runs/digits/events", headers=bearer(secret), buffered=False)
    messages = iter(answer.response)
    assert next(messages) == b": open\n\n"
    with own.database.transaction() as connection:
        tokens.revoke(connection, "the-viewer")
    assert list(messages) == []
    answer.close()


def test_a_cookie_of_another_server_or_another_token_is_worth_nothing(
    own: Site, app: Flask
) -> None:
    token, secret = make(own, "viewer")
    other, _secret = make(own, "admin")
    browser = signed_in(app, secret)
    cookie = browser.get_cookie("branchtrack-80")
    assert cookie is not None
    elsewhere = client_of(create_app(own.config, own.database, own.store, token="other"))
    elsewhere.set_cookie("branchtrack-80", cookie.value)
    assert elsewhere.get("/").status_code == 401
    for forged in (cookie.value.replace(token.id, other.id), "server." + cookie.value[17:]):
        browser.set_cookie("branchtrack-80", forged)
        assert browser.get("/").status_code == 401


def test_without_a_token_of_the_servers_own_a_wrong_one_is_refused_all_the_same(own: Site) -> None:
    assert own.client.get("/", headers=bearer("bt_wrong")).status_code == 401
    _token, secret = make(own, "viewer")
    assert own.client.post(ASK, json={"kind": "pause"}, headers=bearer(secret)).status_code == 403


def test_use_is_recorded_and_not_on_every_request(own: Site, app: Flask) -> None:
    token, secret = make(own, "viewer")
    client = client_of(app)
    used = []
    for _ in range(3):
        client.get("/", headers=bearer(secret))
        with own.database.read() as connection:
            used.append(connection.execute(rows.select()).one().used_at)
    assert token.used_at is None and used[0] is not None and len(set(used)) == 1


def test_a_secret_is_found_nowhere(own: Site, app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    _token, secret = make(own, "agent")
    wrong = secret[:-1] + ("A" if secret[-1] != "A" else "B")
    browser = signed_in(app, secret)
    seen = []
    for client in (browser, client_of(app)):
        for one in (secret, wrong):
            given = f"token={one}"
            for path in (
                f"/runs?{given}",
                f"/nowhere?q=x&{given}",
                f"/runs/nope?%74oken={one}",
                "/runs/nope",
                "/",
                "/api/v1/tokens",
                f"/api/v1/x?{given}",
            ):
                seen += [client.get(path), client.get(path, headers=bearer(one))]
            seen += [
                client.post(f"{ASK}?token={one}", json={"kind": "nope"}, headers=bearer(one)),
                client.post(f"{FORM}&token={one}", data={"kind": "set"}, headers=bearer(one)),
            ]
    told = "".join(str(one.headers) + one.get_data(as_text=True) for one in seen)
    assert {one.status_code for one in seen} >= {200, 303, 401, 403, 404, 422}
    stored = b"".join(path.read_bytes() for path in own.config.home.rglob("*") if path.is_file())
    for one in (secret, wrong):
        assert one not in told and one not in caplog.text
        assert one.encode() not in stored
