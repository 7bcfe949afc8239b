"""The pace of a training is right however long its updates take."""

from __future__ import annotations

import pytest

from branchtrack.training.pace import SECONDS, Pace


def looked_at(pace: Pace, length: float, seconds: float, begin: float = 0.0) -> list[float]:
    """The rates that looks once a second give of updates of some length."""
    times = [begin + number for number in range(1, int(seconds) + 1)]
    return [pace.rate(now, int(now / length)) for now in times]


@pytest.mark.parametrize("length", [0.01, 0.4, 1.0, 1.5, 7.0, 12.0, 90.0])
def test_the_rate_is_that_of_the_updates_at_any_moment(length: float) -> None:
    rates = looked_at(Pace(0.0, 0), length, 10 * length + 60)
    settled = rates[int(3 * length) + 25 :]
    assert all(rate == pytest.approx(1 / length, rel=0.15) for rate in settled)


def test_there_is_none_before_the_first_update() -> None:
    assert looked_at(Pace(0.0, 0), 50.0, 40) == [0.0] * 40


def test_a_training_that_is_held_has_none_after_a_while_and_then_its_own_again() -> None:
    pace = Pace(0.0, 0)
    looked_at(pace, 0.5, 30)
    held = [pace.rate(30.0 + second, 60) for second in range(60)]
    assert held[1] > 1.5 and held[-1] == 0.0
    assert held == sorted(held, reverse=True)
    after = [pace.rate(90.0 + second, 60 + 2 * second) for second in range(1, 10)]
    assert after[-1] == pytest.approx(2.0)


def test_a_rewind_begins_anew() -> None:
    pace = Pace(0.0, 0)
    looked_at(pace, 0.1, 30)
    assert pace.rate(31.0, 5) == 0.0
    assert pace.rate(32.0, 15) == pytest.approx(10.0)


def test_a_change_of_speed_shows_within_the_window() -> None:
    pace = Pace(0.0, 0)
    looked_at(pace, 1.0, 60)
    rates = [pace.rate(60.0 + second, 60 + 4 * second) for second in range(1, int(SECONDS) + 3)]
    assert rates[-1] == pytest.approx(4.0, rel=0.05)
