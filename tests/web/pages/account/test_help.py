"""Help says what marks, keys and words mean."""

from __future__ import annotations

from tests.web.conftest import Site


def test_marks_keys_and_words_are_explained(own: Site) -> None:
    page = own.get("/help")
    text = page.one("main").text
    for words in (
        "diamond",
        "ring",
        "square",
        "dash",
        "the next row",
        "audit log",
    ):
        assert words in text, words
    assert {heading["id"] for heading in page.all("h2")} == {"marks", "keys", "words", "more"}


def test_every_page_leads_to_it(own: Site) -> None:
    places = own.get("/runs/digits").one("nav", aria_label="Places")
    assert [link["href"] for link in places.all("a")] == [
        "/runs",
        "/launches",
        "/alerts",
        "/agents",
        "/storage",
        "/tokens",
        "/help",
    ]
