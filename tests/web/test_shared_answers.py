"""Answers that open tabs share."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Response

from branchtrack.web import shared_answers
from branchtrack.web.shared_answers import SharedAnswers
from tests.web.conftest import Site

LIVE = {"HX-Request": "true", "HX-Target": "div#live"}


def text_of(answers: SharedAnswers, key: str, version: int, make: Callable[[], Response]) -> str:
    return answers.get(key, lambda: version, make).get_data(as_text=True)


class Maker:
    """Makes answers that say how many there were before."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> Response:
        self.made += 1
        return Response(f"answer {self.made}", headers={"Vary": "Cookie"})


def test_an_answer_is_given_again_within_a_moment_and_for_the_same_version() -> None:
    answers, make = SharedAnswers(), Maker()
    first, again = (answers.get("key", lambda: 1, make) for _ in range(2))
    assert first.get_data(as_text=True) == again.get_data(as_text=True) == "answer 1"
    assert again.headers["Vary"] == "Cookie"
    assert text_of(answers, "another key", 1, make) == "answer 2"
    assert text_of(answers, "key", 2, make) == "answer 3"


def test_after_a_moment_an_answer_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_answers, "MOMENT", 0.0)
    answers, make = SharedAnswers(), Maker()
    assert [text_of(answers, "key", 1, make) for _ in range(2)] == ["answer 1", "answer 2"]


def test_whoever_asks_while_an_answer_is_made_waits_for_it() -> None:
    answers, make = SharedAnswers(), Maker()
    has_begun, may_end = threading.Event(), threading.Event()

    def slowly() -> Response:
        has_begun.set()
        may_end.wait()
        return make()

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(text_of, answers, "key", 1, slowly)
        has_begun.wait()
        second = pool.submit(text_of, answers, "key", 1, make)
        may_end.set()
        assert first.result() == second.result() == "answer 1"


def test_what_could_not_be_made_is_tried_again() -> None:
    answers, make = SharedAnswers(), Maker()

    def fail() -> Response:
        raise ValueError("no database")

    with pytest.raises(ValueError, match="no database"):
        answers.get("key", lambda: 1, fail)
    assert text_of(answers, "key", 1, make) == "answer 1"


def test_only_the_most_recent_answers_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_answers, "_MOST", 2)
    answers, make = SharedAnswers(), Maker()
    for key in ("a", "b", "a", "c"):
        answers.get(key, lambda: 1, make)
    assert make.made == 3
    answers.get("a", lambda: 1, make)
    assert make.made == 3
    answers.get("b", lambda: 1, make)
    assert make.made == 4


def test_a_live_part_that_was_sent_to_another_tab_has_what_happened_since(own: Site) -> None:
    page = own.get("/runs/digits")
    address = page.one(id="live")["hx-get"]
    first, second = (own.client.get(address, headers=LIVE) for _ in range(2))
    assert first.data == second.data and first.headers["Vary"] == second.headers["Vary"]
    node = own.lines["main"].commit("checkpoint", 41, loss=0.4)
    assert node.id in own.client.get(address, headers=LIVE).text
