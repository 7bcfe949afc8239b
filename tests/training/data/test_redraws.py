"""The rest of an epoch in another order has the same samples, and is the same for the same seed."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack.training.data import redraws

ORDER = [5, 3, 8, 1, 9, 2, 7, 0, 6, 4]


def stored(samples: int, **more: Any) -> dict[str, Any]:
    """A position after some samples, with a batch fetched ahead."""
    return {"samples": samples, "ahead": {"torch": 1}, **more}


def order(position: dict[str, Any], epoch: int = 0) -> list[int]:
    """The order that a position makes of the epoch's."""
    return redraws.permuted(ORDER, position["redrawn"], epoch)


@pytest.mark.parametrize("end", [10, 9])
def test_the_samples_that_are_left_come_once_each_in_another_order(end: int) -> None:
    position = redraws.redraw(stored(4), [7], end)
    redrawn = order(position)
    assert redrawn[:4] == ORDER[:4] and redrawn[end:] == ORDER[end:]
    assert redrawn[4:end] != ORDER[4:end] and sorted(redrawn[4:end]) == sorted(ORDER[4:end])
    assert position["ahead"] is None and position["samples"] == 4


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    same = [order(redraws.redraw(stored(2), [7], 10)) for _ in range(2)]
    assert same[0] == same[1]
    assert order(redraws.redraw(stored(2), [8], 10)) != same[0]
    assert order(redraws.redraw(stored(2), [7], 10), epoch=1) != same[0]


def test_what_was_redrawn_is_redrawn_again_from_there() -> None:
    first = redraws.redraw(stored(2), [7], 10)
    second = redraws.redraw({**first, "samples": 5}, [7], 10)
    assert order(second)[:5] == order(first)[:5] and order(second)[5:] != order(first)[5:]
    assert sorted(order(second)) == list(range(10))
    assert order(redraws.redraw(stored(2), [7, 9], 10)) == order(
        redraws.redraw(redraws.redraw(stored(2), [7], 10), [9], 10)
    )


def test_only_what_was_redrawn_is_recorded_so() -> None:
    before = stored(4)
    assert redraws.parts(before, before) == {}
    assert redraws.parts(redraws.redraw(before, [7], 10), before) == {
        "data position": redraws.WORDS
    }
