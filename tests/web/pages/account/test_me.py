"""Who asks: what they may do, and the way out."""

from __future__ import annotations

from branchtrack.core import actors
from branchtrack.db import tokens
from branchtrack.web.app import create_app
from branchtrack.web.pages.account import me
from tests.web import dom
from tests.web.conftest import Site, client_of


def test_every_right_of_a_role_has_words() -> None:
    assert set(me.DEEDS) == {deed for role in actors.ROLES for deed in actors.deeds(role)}


def test_without_a_token_everybody_is_the_user_of_the_server(own: Site) -> None:
    page = own.get("/me")
    assert "asks for no token" in page.text and "create and revoke tokens" in page.text
    assert not page.by_role("button", "Sign out")


def test_a_token_says_what_it_is_for_and_its_cookie_can_be_forgotten(own: Site) -> None:
    with own.database.transaction() as connection:
        _token, secret = tokens.create(
            connection, "tuner", "agent", created_by="ann", only=["lr"], limit=5
        )
    app = create_app(own.config, own.database, own.store, token="server")
    browser = client_of(app)
    assert browser.get(f"/?token={secret}").status_code == 303
    page = dom.parse(browser.get("/me").get_data(as_text=True))
    text = page.one("main").text
    for words in ("tuner (agent)", "kept in a cookie", "5 requests in 1,000 steps", "only lr"):
        assert words in text, words
    assert "What tuner may not do" in text
    assert [link.text for link in page.one("nav", aria_label="Places").all("a")] == [
        "Runs",
        "Queue",
        "Alerts",
        "Agents",
        "Storage",
        "Help",
    ]
    # Beside them: on a narrow screen it shares a line with the theme.
    assert page.one("a", href="/me").text == "tuner (agent)"
    answer = browser.post("/me/sign-out", headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 303
    assert browser.get("/me").status_code == 401
    with own.database.read() as connection:
        assert tokens.find_secret(connection, secret) is not None
