"""What an address of a tree page asks for."""

from __future__ import annotations

import pytest
from flask import Flask

from branchtrack.errors import InvalidInput
from branchtrack.web.pages import tree_address
from branchtrack.web.view.branch_choice import Choice


def test_branches_can_be_chosen_by_name_group_path_or_all() -> None:
    with Flask(__name__).test_request_context("/?branch=a&branch=b&branch=a&group=g"):
        assert tree_address.choice() == Choice(("a", "b"), "g")
    with Flask(__name__).test_request_context("/?show=all&path=x"):
        assert tree_address.choice() == Choice(path="x", is_all=True)


def test_links_keep_what_was_chosen_but_not_the_page_of_the_log() -> None:
    with Flask(__name__).test_request_context("/?metric=a&metric=b&before=7&from=3&q=hot"):
        kept = tree_address.kept()
    assert kept["metric"] == ["a", "b"] and kept["from"] == 3 and kept["q"] == "hot"
    assert "before" not in kept and kept["x"] is None


@pytest.mark.parametrize("query", ["show=some", "fold=maybe", "open=<x>"])
def test_what_is_not_offered_is_refused(query: str) -> None:
    with Flask(__name__).test_request_context(f"/?{query}"), pytest.raises(InvalidInput):
        tree_address.choice()
        tree_address.log([], is_narrowed=False)


def test_a_search_that_is_too_long_is_refused_rather_than_cut() -> None:
    with Flask(__name__).test_request_context("/", query_string={"q": f"  {'a' * 200}  "}):
        assert tree_address.search() == "a" * 200
    text = f"checkpoint{' ' * 200}zzzz"
    with (
        Flask(__name__).test_request_context("/", query_string={"q": text}),
        pytest.raises(InvalidInput, match="at most 200 characters") as caught,
    ):
        tree_address.search()
    assert caught.value.field == "q"
