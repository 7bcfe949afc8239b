"""Requests that mean no good, or no sense: none is answered with a failure of the server's."""

from __future__ import annotations

import json
import random
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask

from branchtrack.core.names import new_id
from branchtrack.db import tables, tokens
from branchtrack.web.app import create_app
from tests.web.conftest import Site, client_of

API = "/api/v1/runs/digits/branches/main/requests"
PAGES = (
    "/runs/digits",
    "/runs/digits/branches/main/steer",
    "/runs/digits/audit",
    "/api/v1/runs/digits/requests",
    "/api/v1/runs/digits/audit",
)
ROLES = ("viewer", "agent", "operator", "admin")
HUGE = "9" * 30


@pytest.fixture
def secrets(own: Site) -> dict[str, str]:
    with own.database.transaction() as connection:
        return {
            role: tokens.create(connection, f"the-{role}", role, created_by="test")[1]
            for role in ROLES
        }


@pytest.fixture
def app(own: Site) -> Flask:
    app = create_app(own.config, own.database, own.store, token="server")
    app.config["PROPAGATE_EXCEPTIONS"] = False
    return app


def nested(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


def change(lr: str) -> str:
    """A change of lr to what is written so in JSON."""
    return '{"kind": "set", "reason": "x", "values": {"lr": ' + lr + "}}"


BODIES = [
    r'{"kind": "set", "values": {"lr": "\ud800"}, "reason": "x"}',
    r'{"kind": "set", "values": {"\udfff": 1}, "reason": "x"}',
    r'{"kind": "\ud800", "reason": "\ud800"}',
    r'{"kind": "act", "action": "a", "arguments": {"b": [{"\ud800": "\u0000"}]}, "reason": "x"}',
    r'{"kind": "pause", "only_if": {"\ud800": "\ud800"}, "reason": "x"}',
    r'{"kind": "pause", "\ud800": 1, "reason": "x"}',
    change(nested(25)),
    change(nested(500)),
    change(nested(900)),
    change(HUGE),
    change("1" + "0" * 400),
    change(f'1, "kind": {nested(500)}'),
    '{"kind": "pause", "reason": "x", "not_after_step": ' + HUGE + "}",
]


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_what_is_refused_takes_no_page_from_anybody(
    own: Site, app: Flask, secrets: dict[str, str], role: str
) -> None:
    client = client_of(app)
    for body in BODIES:
        answer = client.post(
            API,
            data=body,
            content_type="application/json",
            headers={"Authorization": f"Bearer {secrets[role]}"},
        )
        assert 400 <= answer.status_code < 500, (body, answer.get_data(as_text=True))
    for page in PAGES:
        assert client.get(page, headers={"Authorization": "Bearer server"}).status_code == 200


def test_half_a_surrogate_pair_that_is_stored_already_is_shown(own: Site) -> None:
    own.lines["main"].ask({"kind": "note", "text": "hm"}, "x")
    bad = {"text": "a\ud800", "\udfff": ["\udc00"]}
    with own.database.transaction() as connection:
        for table in (tables.requests, tables.events):
            connection.execute(table.update().values(payload=bad))
        connection.execute(tables.requests.update().values(requested=bad))
    for page in PAGES:
        answer = own.client.get(page)
        assert answer.status_code == 200
        answer.get_data().decode()


def test_what_turns_the_text_around_it_is_spelled_and_stays_in_fields(own: Site) -> None:
    evil = "a\u202eb\u2066c"
    own.client.post("/runs/digits/manage", data={"name": "digits", "notes": evil})
    own.lines["main"].ask({"kind": "note", "text": "x"}, evil)
    fragment = {"HX-Request": "true", "HX-Target": "div#list"}
    for path, headers in (("/runs/digits", {}), ("/runs/digits/report.html", {}), ("/", fragment)):
        text = own.client.get(path, headers=headers).text
        assert "a\\u202eb\\u2066c" in text and not {"\u202e", "\u2066"} & set(text)
    assert "“a\\u202eb\\u2066c”" in own.get("/runs/digits").text
    assert own.get("/runs/digits/manage").field("Notes").text == evil


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/runs/digits/audit?before={HUGE}", 422),
        (f"/runs?page={HUGE}", 422),
        (f"/api/v1/runs/digits/audit?after={HUGE}", 422),
        (f"/api/v1/runs/digits/requests?before={'1' * 5000}", 422),
        (f"/runs/digits/events?after={HUGE}", 422),
        ("/runs/digits/events?after=-1", 422),
        (f"/runs/digits/events?after=1~ab:{HUGE}", 422),
        ("/runs/digits/events?after=x", 422),
        (f"/api/v1/curve?branch=digits&from={HUGE}", 422),
        (f"/nodes/{HUGE}", 404),
        (f"/api/v1/requests/{HUGE}", 404),
        ("/runs/%00", 400),
        ("/runs/%ed%a0%80", 404),
    ],
)
def test_a_number_that_no_database_holds_is_refused(own: Site, path: str, status: int) -> None:
    answer = own.client.get(path)
    assert answer.status_code == status


def test_no_request_made_up_at_random_makes_the_server_fail(
    own: Site, app: Flask, secrets: dict[str, str]
) -> None:
    draw = random.Random(4)
    client = client_of(app)
    routes = [(rule.rule, sorted(rule.methods or ())) for rule in app.url_map.iter_rules()]
    for _ in range(400):
        rule, methods = draw.choice(routes)
        method = draw.choice([*methods, "PUT"])
        headers = {"Authorization": f"Bearer {draw.choice([*secrets.values(), 'server', 'bt_x'])}"}
        if draw.random() < 0.1:
            headers["Last-Event-ID"] = (
                draw.choice(TEXTS).encode("latin-1", "replace").decode("latin-1")
            )
        path = f"{filled(rule, own, draw)}?{query(draw)}"
        answer = client.open(path, method=method, headers=headers, buffered=False, **body(draw))
        assert answer.status_code < 500, (method, path, answer.get_data(as_text=True))
        answer.close()


TEXTS = [
    "",
    "lr",
    "digits/main",
    "\x00",
    "é😀",
    HUGE,
    "-1",
    "nan",
    "1e999",
    "a" * 3000,
    "[!",
    "1~a:1",
    "'\"<script>",
    "..",
    "٣",
]
NAMES = [
    "kind",
    "values",
    "reason",
    "only_if",
    "key",
    "node",
    "text",
    "modules",
    "action",
    "arguments",
    "name",
    "role",
    "only",
    "settings",
    "mode",
    "set.lr",
    "arg.soft",
    "\x00",
    "theme",
]
KINDS = ["set", "pause", "stop", "rewind", "freeze", "note", "act", "resume", "?"]


def filled(rule: str, site: Site, draw: random.Random) -> str:
    """A route's path with good values, or others."""
    good = {"run": "digits", "branch": "main", "node_id": site.node("main"), "name": "nobody"}
    for name in ("run", "branch", "node_id", "request_id", "name", "path:filename"):
        value = good.get(name, new_id()) if draw.random() < 0.8 else draw.choice(TEXTS) or "x"
        rule = rule.replace(f"<{name}>", quote(value, safe=""))
    return rule


def query(draw: random.Random) -> str:
    names = ("after", "before", "limit", "points", "from", "to", "metric", "page", "smooth", "kind")
    count = draw.choice([0, 0, 1, 2])
    pairs = [f"{draw.choice(names)}={quote(draw.choice(TEXTS))}" for _ in range(count)]
    return "&".join([*pairs, *(["%zz=%"] if draw.random() < 0.05 else [])])


def body(draw: random.Random) -> dict[str, Any]:
    fields: dict[str, Any] = {"kind": draw.choice(KINDS), "reason": draw.choice(["why", "\ud800"])}
    for _ in range(draw.choice([0, 1, 1, 2])):
        fields[draw.choice([*NAMES, "\ud800"])] = value(draw)
    if draw.random() < 0.5:
        return {"data": json.dumps(fields).encode(), "content_type": "application/json"}
    pairs = (
        f"{quote(name, errors='replace')}={quote(str(each), errors='replace')}"
        for name, each in fields.items()
    )
    return {"data": "&".join(pairs), "content_type": "application/x-www-form-urlencoded"}


def value(draw: random.Random, depth: int = 0) -> Any:
    kind = draw.randrange(6 if depth < 3 else 4)
    if kind == 4:
        return [value(draw, depth + 1) for _ in range(draw.randrange(3))]
    if kind == 5:
        return {draw.choice([*NAMES, "lr", "\ud800"]): value(draw, depth + 1)}
    numbers = [0, -1, 2**63, 10**400, 1e300, float("nan"), True, None]
    return draw.choice([*numbers, *TEXTS, "a\ud800"])
