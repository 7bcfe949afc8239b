"""What holds a training, and until when."""

from __future__ import annotations

from typing import Any

from branchtrack.training.steer.holds import Holds
from tests.training.requests_for_tests import request


class Clock:
    """A clock that is set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_nothing_holds_a_training_at_first() -> None:
    assert not Holds()


def test_a_pause_holds_until_it_or_all_are_ended() -> None:
    holds = Holds()
    for ended in ("r1", None):
        holds.begin(request("pause", 1))
        assert holds
        holds.end(ended)
        assert not holds


def test_a_pause_that_is_ended_leaves_the_others() -> None:
    holds = Holds()
    holds.begin(request("pause", 1))
    holds.begin(request("pause", 2, requested={"seconds": 60}))
    holds.end("r2")
    assert holds
    holds.end("unknown")
    assert holds
    holds.end("r1")
    assert not holds


def test_a_pause_ends_by_itself_and_leaves_longer_ones() -> None:
    clock = Clock()
    holds = Holds(clock)
    holds.begin(request("pause", 1, requested={"seconds": 60}))
    holds.begin(request("pause", 2, requested={"seconds": 90}))
    for now, is_held in ((159.9, True), (189.9, True), (190.0, False)):
        clock.now = now
        assert bool(holds) == is_held


def test_a_thread_can_look_while_another_pauses() -> None:
    class Moment(float):
        """A time at which another thread pauses, during each comparison."""

        def __lt__(self, end: Any) -> bool:
            holds.begin(request("pause", len(holds._ends) + 1, requested={"seconds": 0}))
            return False

    holds = Holds(lambda: Moment(100.0))
    for number in (1, 2):
        holds.begin(request("pause", number, requested={"seconds": 0}))
    assert not holds
