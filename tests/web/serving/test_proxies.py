"""Under another name, under a path, behind proxies: every address on every page is right."""

from __future__ import annotations

import http.client
import threading
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient

from branchtrack.errors import InvalidInput
from branchtrack.web.app import create_app
from branchtrack.web.serving import proxies, server
from tests.web import dom
from tests.web.conftest import Site, client_of

TOKEN = "the-token"
ADDRESSES = ("href", "src", "action", "formaction", "hx-get", "hx-post", "data-url")
OWN = ("data-url", "data-href")
#: As a proxy would call it, with the path cut off.
FORWARDED = {
    "X-Forwarded-For": "192.0.2.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "runs.example.org",
    "X-Forwarded-Prefix": "/bt",
}
BROWSER = {"Sec-Fetch-Site": "same-origin"}


def app_of(site: Site, **where: Any) -> Flask:
    app = create_app(site.config, site.database, site.store, token=TOKEN)
    proxies.mount(app, **where)
    return app


@pytest.fixture(params=["proxy", "path", "path that the proxy cuts off"])
def way(request: pytest.FixtureRequest, site: Site) -> tuple[FlaskClient, dict[str, str], str]:
    """A client signed in, its headers, and what is cut off of each address."""
    if request.param == "proxy":
        app, headers, cut = app_of(site, hosts=["Runs.example.org"], hops=1), FORWARDED, "/bt"
    else:
        app, headers = app_of(site, prefix="bt/"), {}
        cut = "" if request.param == "path" else "/bt"
    client = client_of(app)
    return client, {**headers, "Authorization": f"Bearer {TOKEN}"}, cut


def test_every_address_on_every_page_has_the_path(
    way: tuple[FlaskClient, dict[str, str], str],
) -> None:
    client, headers, cut = way
    waiting, seen, kinds = ["/bt/"], set[str](), set[str]()
    while waiting:
        path = waiting.pop()
        answer = client.get(path.removeprefix(cut), headers=headers)
        assert answer.status_code in (200, 303, 404, 409, 422), path
        if answer.mimetype != "text/html":
            continue
        for element in dom.parse(answer.get_data(as_text=True)).walk():
            for name in (*ADDRESSES, *OWN):
                found = element.get(name).partition("#")[0]
                if not found or found.startswith("data:"):
                    continue
                assert found.startswith("/bt/"), (path, element.tag, name, found)
                kind = "/".join(found.partition("?")[0].split("/")[:3] + found.split("/")[4:5])
                if element.tag == "a" and kind not in kinds and len(seen) < 25:
                    kinds.add(kind)
                    seen.add(found)
                    waiting.append(found)
    assert len(seen) >= 5


def test_the_cookie_is_for_the_path_and_for_https_alone(site: Site) -> None:
    client = client_of(app_of(site, hosts=["runs.example.org"], hops=1))
    answer = client.get(f"/runs?q=x&token={TOKEN}", headers=FORWARDED)
    assert answer.status_code == 303 and answer.headers["Location"] == "/bt/runs?q=x"
    cookie = answer.headers["Set-Cookie"]
    assert "Secure" in cookie and "Path=/bt" in cookie and "HttpOnly" in cookie
    form = {"theme": "dark", "next": "/bt/runs"}
    headers = {
        **FORWARDED,
        "Authorization": f"Bearer {TOKEN}",
        "Origin": "https://runs.example.org",
    }
    answer = client.post("/theme", data=form, headers=headers)
    assert answer.headers["Location"] == "/bt/runs" and "Secure" in answer.headers["Set-Cookie"]
    foreign = {**headers, "Origin": "https://example.org"}
    assert client.post("/theme", data=form, headers=foreign).status_code == 403


def test_a_form_leads_back_under_the_path(own: Site) -> None:
    client = client_of(app_of(own, prefix="/a/b"))
    answer = client.post(
        "/a/b/runs/digits/branches/main/steer?back=tree",
        data={"kind": "pause"},
        headers={**BROWSER, "Authorization": f"Bearer {TOKEN}"},
    )
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/a/b/runs/digits"


def test_what_a_proxy_says_is_believed_of_so_many_alone(site: Site) -> None:
    headers = {**FORWARDED, "Authorization": f"Bearer {TOKEN}"}
    plain = client_of(app_of(site)).get("/", headers=headers).get_data(as_text=True)
    assert "/bt/" not in plain
    twice = {**headers, "X-Forwarded-Host": "evil.example, runs.example.org"}
    client = client_of(app_of(site, hosts=["runs.example.org"], hops=1))
    assert client.get("/", headers=twice).status_code == 200
    assert client.get("/", headers={**headers, "X-Forwarded-Host": "evil.example"}).status_code == (
        400
    )


def test_a_name_that_is_trusted_is_answered_and_no_other(site: Site) -> None:
    client, headers = (
        client_of(app_of(site, hosts=["gpu.lab"])),
        {"Authorization": f"Bearer {TOKEN}"},
    )
    for host, status in (("gpu.lab:8642", 200), ("localhost", 200), ("other.lab", 400)):
        assert client.get("/", headers={**headers, "Host": host}).status_code == status


@pytest.mark.parametrize(
    "where", [{"hosts": ["a/b"]}, {"hosts": ["*"]}, {"prefix": "/a b"}, {"prefix": "//evil/x?y"}]
)
def test_what_is_no_host_and_no_path_is_refused(site: Site, where: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        app_of(site, **where)


@pytest.mark.parametrize("hops", [0, 1])
def test_a_real_server_hands_on_what_its_proxies_say_and_nobody_else(site: Site, hops: int) -> None:
    app = app_of(site, hosts=["runs.example.org"], hops=hops)
    running = server.Server(app, "127.0.0.1", 0)
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        connection = http.client.HTTPConnection(
            "127.0.0.1", urlsplit(running.address).port, timeout=60
        )
        connection.request("GET", f"/?token={TOKEN}", headers=FORWARDED)
        cookie = connection.getresponse().headers["Set-Cookie"]
        connection.close()
    finally:
        running.close()
        thread.join(60)
    assert ("Secure" in cookie) == ("Path=/bt" in cookie) == bool(hops)
