"""Who is let in, and what a browser may do with what it gets."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from flask import Flask
from flask.testing import FlaskClient

from branchtrack.web.access import guards
from branchtrack.web.app import create_app
from tests.web import dom, seeds
from tests.web.conftest import Site, client_of

TOKEN = "a-token-of-this-test"


@pytest.fixture
def guarded(empty: Site) -> FlaskClient:
    """A client of a server with a token."""
    return client_of(create_app(empty.config, empty.database, empty.store, token=TOKEN))


def test_without_the_token_a_page_says_where_to_find_it(guarded: FlaskClient) -> None:
    answer = guarded.get("/")
    assert answer.status_code == 401
    page = dom.parse(answer.get_data(as_text=True))
    assert "branchtrack serve" in page.one("main").text
    assert TOKEN not in answer.get_data(as_text=True)


def test_the_api_refuses_in_its_own_shape(guarded: FlaskClient) -> None:
    answer = guarded.get("/api/v1/runs")
    assert answer.status_code == 401
    assert answer.json is not None and answer.json["error"]["status"] == 401


def test_the_token_in_the_address_becomes_a_cookie_and_leaves_the_address(
    guarded: FlaskClient,
) -> None:
    answer = guarded.get(f"/runs?q=x&token={TOKEN}&page=1")
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/runs?q=x&page=1"
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert TOKEN not in cookie
    assert guarded.get("/").status_code == 200


def test_a_wrong_token_or_cookie_lets_nobody_in(guarded: FlaskClient) -> None:
    assert guarded.get("/?token=wrong").status_code == 401
    guarded.set_cookie("branchtrack-80", "wrong")
    assert guarded.get("/").status_code == 401
    assert guarded.get("/", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert guarded.get("/", headers={"Authorization": TOKEN}).status_code == 401


def test_a_bearer_lets_scripts_in(guarded: FlaskClient) -> None:
    assert guarded.get("/", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_the_redirect_stays_on_this_server(guarded: FlaskClient) -> None:
    path = {"PATH_INFO": "//evil.example/"}
    answer = guarded.get(f"/?token={TOKEN}", environ_overrides=path)
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith("/evil.example")


@pytest.mark.parametrize("path", ["/nodes/a%0a%0db", "/nodes/a%3Fb%23c", "/nodes/%c3%a9"])
def test_the_redirect_leads_to_the_very_address(guarded: FlaskClient, path: str) -> None:
    answer = guarded.get(f"{path}?token={TOKEN}")
    assert answer.status_code == 303
    assert answer.headers["Location"].lower() == path.lower()


@pytest.mark.parametrize("path", ["/", "/nope", "/static/app.css", "/api/v1/runs"])
def test_bytes_of_no_text_in_an_address_are_refused(guarded: FlaskClient, path: str) -> None:
    raw = {"QUERY_STRING": "q=\xff\xfe"}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert guarded.get(path, environ_overrides=raw, headers=headers).status_code == 400


def test_style_and_icon_need_no_token(guarded: FlaskClient) -> None:
    assert guarded.get("/static/app.css").status_code == 200
    assert guarded.get("/icon.svg").status_code == 200


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"}, False),
        ({"Origin": "http://localhost"}, True),
        ({"Origin": "https://localhost"}, False),
        ({"Origin": "http://localhost:9999"}, False),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({}, True),
    ],
)
def test_a_form_of_another_site_changes_nothing(
    empty: Site, headers: dict[str, str], allowed: bool
) -> None:
    answer = empty.client.post("/theme", data={"theme": "dark"}, headers=headers)
    assert answer.status_code == (303 if allowed else 403)
    assert ("Set-Cookie" in answer.headers) == allowed


def test_without_a_browsers_headers_a_post_needs_the_token_itself(guarded: FlaskClient) -> None:
    assert guarded.post("/theme", data={"theme": "dark"}).status_code == 401
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert guarded.post("/theme", data={"theme": "dark"}, headers=bearer).status_code == 303


def test_the_token_does_not_excuse_another_site(guarded: FlaskClient) -> None:
    guarded.get(f"/?token={TOKEN}")
    answer = guarded.post(
        "/theme", data={"theme": "dark"}, headers={"Sec-Fetch-Site": "cross-site"}
    )
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8642", "127.0.0.1:1", "[::1]:8642", "LOCALHOST:80"]
)
def test_loopback_names_are_answered(empty: Site, host: str) -> None:
    assert empty.client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "",
        "[::1",
        "a b",
        "127.0.0.1:8642, evil.example",
        "127.0.0.1/x",
        "a@127.0.0.1",
    ],
)
def test_other_names_are_refused(empty: Site, host: str) -> None:
    answer = empty.client.get("/", headers={"Host": host})
    assert answer.status_code == 400
    assert "Host header" in answer.get_data(as_text=True)


def test_the_bound_host_is_answered_and_no_other(empty: Site) -> None:
    guards.trust_host(empty.app, "gpu-3.lab")
    assert empty.client.get("/", headers={"Host": "gpu-3.lab:8642"}).status_code == 200
    assert empty.client.get("/", headers={"Host": "gpu-4.lab:8642"}).status_code == 400


def test_bound_to_all_addresses_any_name_is_answered(empty: Site) -> None:
    guards.trust_host(empty.app, "0.0.0.0")
    assert empty.client.get("/", headers={"Host": "whatever.lab"}).status_code == 200


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("192.168.1.5", False),
        ("127.evil.example", False),
        ("", False),
    ],
)
def test_what_only_this_machine_reaches(host: str, is_loopback: bool) -> None:
    assert guards.is_loopback(host) == is_loopback


def test_every_answer_bears_a_strict_policy(site: Site) -> None:
    for path in ("/", "/nowhere", "/static/app.css", "/api/v1/runs"):
        headers = site.client.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'self'") and "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"


def test_no_page_has_inline_script_or_style(site: Site) -> None:
    node = site.node("cooler")
    paths = [
        "/",
        "/runs/gpt2-docs",
        f"/nodes/{node}",
        f"/nodes/{node}/resume",
        "/nowhere",
        "/compare?a=gpt2-docs/main&b=gpt2-docs/cooler",
    ]
    for path in paths:
        page = dom.parse(site.client.get(path).get_data(as_text=True))
        for one in page.walk():
            assert not any(name.startswith("on") or name == "style" for name in one.attributes)
            assert one.tag != "style"
            if one.tag == "script":
                assert one.get("src") or one.get("type") == "application/json"


def test_text_from_users_is_escaped_everywhere(empty: Site) -> None:
    nasty = "<script>alert(1)</script>\"'&"
    line = seeds.Grower(empty.database, empty.store, "run").line("main")
    line.commit("root", 0, message=nasty, actor=nasty)
    line.log("loss", [1, 2, 3], [3.0, 2.0, 1.0])
    line.log(nasty, [1, 2, 3], [3.0, 2.0, 1.0])
    line.ask({"kind": "checkpoint"}, nasty)
    node = line.commit("intervention", 3, {"lr": 1e-4}, nasty, nasty, loss=1.0, **{nasty: 2.0})
    line.beat()
    typed = quote(nasty)
    for path in (
        "/",
        "/runs/run",
        f"/nodes/{node.id}",
        f"/nodes/{node.id}/resume",
        f"/runs?q={typed}",
        f"/runs/{typed}",
        f"/runs/run?metric={typed}",
        f"/nodes/{node.id}/resume?name={typed}&set.lr={typed}",
    ):
        text = empty.client.get(path).get_data(as_text=True)
        assert "<script>alert" not in text
        scripts = [one for one in dom.parse(text).all("script") if not one.get("src")]
        assert all(one["type"] == "application/json" for one in scripts)


def test_the_token_is_compared_whole(empty: Site) -> None:
    app: Flask = create_app(empty.config, empty.database, empty.store, token=TOKEN)
    assert client_of(app).get(f"/?token={TOKEN[:-1]}").status_code == 401
    assert client_of(app).get(f"/?token={TOKEN}x").status_code == 401
    assert client_of(app).get("/?token=").status_code == 401
