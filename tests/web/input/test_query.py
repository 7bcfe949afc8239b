"""Numbers and choices in addresses."""

from __future__ import annotations

import pytest

from branchtrack.errors import InvalidInput
from branchtrack.web.input import query as input_query
from tests.web.conftest import Site


@pytest.mark.parametrize(
    ("query", "found"), [("", None), ("from=", None), ("from=0", 0), ("from=1,200", 1200)]
)
def test_a_whole_number_is_read_and_absence_is_none(
    empty: Site, query: str, found: int | None
) -> None:
    with empty.app.test_request_context(f"/?{query}"):
        assert input_query.whole("from") == found


@pytest.mark.parametrize("text", ["-1", "1.5", "1_0", "x", "٣", "99999999999999999999999", "1e3"])
def test_other_numbers_are_refused(empty: Site, text: str) -> None:
    with empty.app.test_request_context(f"/?from={text}"), pytest.raises(InvalidInput):
        input_query.whole("from")


def test_the_first_of_a_choice_is_the_default(empty: Site) -> None:
    with empty.app.test_request_context("/?y=&x=log"):
        assert input_query.choice("y", ("linear", "log")) == "linear"
        assert input_query.choice("x", ("linear", "log")) == "log"
        assert input_query.weight((0.0, 0.6), 0.6) == 0.6
        assert input_query.page_number() == 1


@pytest.mark.parametrize(
    ("query", "number", "items", "first"),
    [("", 1, [0, 1], 1), ("page=2", 2, [2, 3], 3), ("page=9", 3, [4], 5)],
)
def test_a_page_of_a_list_is_at_most_the_last(
    empty: Site, query: str, number: int, items: list[int], first: int
) -> None:
    with empty.app.test_request_context(f"/?{query}"):
        page = input_query.page(range(5), 2)
        assert (page.number, list(page.items), page.first, page.last) == (number, items, first, 3)
        assert input_query.page([], 2).number == 1
