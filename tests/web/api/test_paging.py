"""Pages of a list in memory."""

from __future__ import annotations

import pytest

from branchtrack.errors import InvalidInput
from branchtrack.web.api.paging import page

ROWS = [{"id": name} for name in "abcde"]


def test_every_row_is_in_exactly_one_page() -> None:
    seen, cursor = [], None
    while True:
        part = page("rows", ROWS, "id", 2, after=cursor)
        seen += part["rows"]
        assert part["total"] == 5
        cursor = part["next"]
        if cursor is None:
            break
    assert seen == ROWS


def test_a_page_that_ends_with_the_list_is_the_last() -> None:
    assert page("rows", ROWS, "id", 5, after=None)["next"] is None
    assert page("rows", ROWS, "id", 5, after="e")["rows"] == []


def test_a_cursor_that_there_is_not_is_refused_by_its_name() -> None:
    with pytest.raises(InvalidInput) as caught:
        page("rows", ROWS, "id", 2, before="z")
    assert caught.value.field == "before"
