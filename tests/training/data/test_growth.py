"""In data that grew, a pass goes on after what it had, or the next one begins."""

from __future__ import annotations

from typing import Any

from branchtrack.training.data import growth

MIDDLE: dict[str, Any] = {"epoch": 2, "batches": 3, "samples": 12, "order": {"a": 1}, "seed": 7}


def test_rows_in_their_order_go_on_after_those_that_were_read() -> None:
    assert growth.place(MIDDLE, in_order=20) == MIDDLE
    assert growth.place_words(MIDDLE, MIDDLE) == "restored, in changed data"


def test_another_order_is_drawn_anew_in_the_next_pass() -> None:
    moved = growth.place(MIDDLE, in_order=0)
    assert moved == {"epoch": 3, "batches": 0, "samples": 0, "order": None, "seed": 7}
    assert "next pass begins" in growth.place_words(moved, MIDDLE)


def test_a_pass_that_had_all_rows_that_are_left_is_over() -> None:
    assert growth.place(MIDDLE, in_order=12)["epoch"] == 3
    assert growth.place(MIDDLE, in_order=13) == MIDDLE


def test_a_pass_that_had_not_begun_begins() -> None:
    start = {**MIDDLE, "batches": 0, "samples": 0}
    assert growth.place(start, in_order=0) == start


def test_a_position_that_counts_no_samples_goes_on_only_with_rows_in_order() -> None:
    counted = {"epoch": 1, "batches": 3}
    assert growth.place(counted, in_order=0) == {"epoch": 2, "batches": 0}
