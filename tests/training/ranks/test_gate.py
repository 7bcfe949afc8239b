from __future__ import annotations

import math

import pytest
import torch.distributed as dist

from branchtrack.errors import RankLost
from branchtrack.training.ranks import gate as gates
from branchtrack.training.ranks.channel import Channel
from branchtrack.training.ranks.gate import Gate


def pair() -> tuple[Gate, Gate]:
    """The gates of two ranks in one process, before the first update."""
    store = dist.HashStore()
    return Gate(Channel(store, 0, 2), 0), Gate(Channel(store, 1, 2), 0)


def test_nobody_meets_where_nothing_waits() -> None:
    leader, other = pair()
    for step in range(1, 6):
        leader.announce(step - 1, wanted=False)
        assert not other.is_meeting(step)
        assert not leader.is_meeting(step)


def test_all_meet_after_the_same_update_which_lies_ahead_of_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gates, "_MOST", 1)
    leader, other = pair()
    leader.announce(0, wanted=False)
    assert not other.is_meeting(1)
    leader.announce(1, wanted=True)
    assert [(leader.is_meeting(step), other.is_meeting(step)) for step in (1, 2)] == [
        (False, False),
        (True, True),
    ]
    leader.announce(2, wanted=False)
    assert not other.is_meeting(3)


def test_a_rank_that_is_behind_still_comes_to_the_meeting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gates, "_MOST", 1)
    leader, other = pair()
    leader.announce(0, wanted=False)
    leader.announce(1, wanted=False)
    leader.announce(2, wanted=True)
    assert [other.is_meeting(step) for step in (1, 2, 3)] == [False, False, True]


def test_a_step_that_is_known_before_is_met_exactly() -> None:
    leader, other = pair()
    leader._seconds = 1e-4
    leader.announce(0, wanted=False, known=7)
    assert [step for step in range(1, 8) if other.is_meeting(step)] == [7]
    assert leader.messages == 1


def test_one_message_covers_many_short_updates_and_none_is_overrun() -> None:
    leader, other = pair()
    leader._seconds = gates.AHEAD_SECONDS / 10
    leader.announce(0, wanted=False)
    assert leader._until == 10
    leader.announce(3, wanted=True)
    assert [step for step in range(1, 12) if other.is_meeting(step)] == [11]
    assert other.messages <= 2


def test_a_step_that_became_known_too_late_is_met_as_soon_as_possible() -> None:
    leader, _ = pair()
    leader._seconds = gates.AHEAD_SECONDS / 10
    leader.announce(0, wanted=False)
    leader.announce(1, wanted=False, known=5)
    assert leader._meeting == 11
    assert math.isinf(Gate(Channel(dist.HashStore(), 0, 2), 0)._seconds)


def test_who_waits_at_the_gate_of_a_rank_that_left_is_told_so() -> None:
    store = dist.HashStore()
    leader, other = Channel(store, 0, 2), Gate(Channel(store, 1, 2), 0)
    leader.leave("it broke")
    with pytest.raises(RankLost, match="it broke"):
        other.is_meeting(1)
