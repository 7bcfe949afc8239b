"""Numbers of events, which say how far a reader has come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from branchtrack.web.protocol.numbers import MOST_PARTS, Cursor

cursors = st.builds(
    Cursor,
    st.integers(0, 10**6),
    st.integers(0, MOST_PARTS - 1),
    st.integers(0, 255),
    st.integers(0, 2**26 - 1),
)


@given(cursors)
def test_who_asks_for_what_follows_an_event_is_where_it_brought_them(cursor: Cursor) -> None:
    assert Cursor.before(cursor.number + 1) == cursor


@given(cursors, cursors)
def test_numbers_are_in_the_order_of_cursors(one: Cursor, other: Cursor) -> None:
    assert (one < other) is (one.number < other.number)


def test_the_start_is_before_everything() -> None:
    assert Cursor.before(0) == Cursor.before(1) == Cursor()


def test_a_run_of_30_000_events_has_numbers_that_every_reader_of_json_keeps() -> None:
    assert Cursor(30_000, 15, 255, 2**26 - 1).number < 2**53


def test_a_step_beyond_what_a_number_holds_is_the_last_one() -> None:
    assert Cursor(1, 0, 999, 2**40).number == Cursor(1, 0, 255, 2**26 - 1).number
