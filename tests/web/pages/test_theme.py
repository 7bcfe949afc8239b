"""The theme switch and the icon."""

from __future__ import annotations

import pytest

from tests.web import dom
from tests.web.conftest import Site


def test_a_page_is_rendered_in_the_theme_that_was_chosen(empty: Site) -> None:
    client = empty.client
    answer = client.post("/theme", data={"theme": "dark", "next": "/runs?q=x"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/runs?q=x")
    page = dom.parse(client.get("/").get_data(as_text=True))
    assert page.one("html")["data-theme"] == "dark"
    assert page.one("meta", name="color-scheme")["content"] == "dark"
    pressed = [one.text for one in page.all("button") if one.get("aria-pressed") == "true"]
    assert pressed == ["dark"]


def test_the_system_decides_at_first_and_where_the_cookie_is_nonsense(empty: Site) -> None:
    client = empty.client
    assert dom.parse(client.get("/").get_data(as_text=True)).one("html")["data-theme"] == "system"
    client.set_cookie("theme", "<script>")
    assert dom.parse(client.get("/").get_data(as_text=True)).one("html")["data-theme"] == "system"


def test_an_unknown_theme_is_refused(empty: Site) -> None:
    assert empty.client.post("/theme", data={"theme": "neon"}).status_code == 422


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        ("//evil.example/x", "/evil.example/x"),
        ("https://evil.example", "/https://evil.example"),
        ("/\\evil.example", "/evil.example"),
        ("/runs\nSet-Cookie: a=b", "/"),
        ("", "/"),
    ],
)
def test_the_way_back_never_leaves_this_server(empty: Site, wanted: str, given: str) -> None:
    answer = empty.client.post("/theme", data={"theme": "light", "next": wanted})
    assert answer.headers["Location"] == given


def test_the_switch_comes_back_to_the_page_it_was_used_on(site: Site) -> None:
    page = site.get("/compare?a=gpt2-docs/main&b=gpt2-docs/hot")
    back = page.one("form", class_="themes").one("input")["value"]
    assert back == "/compare?a=gpt2-docs/main&b=gpt2-docs/hot"


def test_the_icon_is_a_drawing(empty: Site) -> None:
    answer = empty.client.get("/icon.svg")
    assert answer.mimetype == "image/svg+xml"
    assert dom.parse(answer.get_data(as_text=True)).one("svg")


def test_single_keys_can_be_switched_off(empty: Site) -> None:
    client = empty.client
    assert "data-keys" not in dom.parse(client.get("/").text).one("html").attributes
    answer = client.post("/keys", data={"keys": "off", "next": "/help"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/help")
    page = dom.parse(client.get("/help").text)
    assert page.one("html")["data-keys"] == "off" and page.by_role("button", "Switch them on")
    assert client.post("/keys", data={"keys": "maybe"}).status_code == 422
