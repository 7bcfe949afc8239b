from __future__ import annotations

import math
import threading
import time

import pytest
import torch.distributed as dist

from branchtrack import processes
from branchtrack.errors import RankLost
from branchtrack.training.ranks import channel as channels
from branchtrack.training.ranks.channel import Channel


def pair() -> tuple[Channel, Channel]:
    """Two ranks in one process."""
    store = dist.HashStore()
    return Channel(store, 0, 2), Channel(store, 1, 2)


def test_a_message_arrives_as_it_was_also_later() -> None:
    leader, other = pair()
    message = {"lr": [0.1, math.inf], "text": "ä", "none": None}
    threading.Timer(0.05, lambda: leader.post("word", message)).start()
    assert other.wait("word", 0) == message
    assert math.isnan(Channel(dist.HashStore(), 0, 1).peek("x") or math.nan)
    leader.post("nan", math.nan)
    assert math.isnan(other.wait("nan", 0))


def test_a_message_that_was_taken_is_gone_one_that_was_read_stays() -> None:
    leader, other = pair()
    leader.post("a", 1)
    assert (other.wait("a", 0), other.take("a", 0), other.peek("a")) == (1, 1, None)


def test_the_first_of_several_messages_is_returned_with_its_key() -> None:
    leader, other = pair()
    leader.post("b", 2)
    assert other.wait_for_any(["a", "b"], 0) == ("b", 2)


def test_who_waits_for_a_rank_that_has_left_is_told_so_and_why() -> None:
    leader, other = pair()
    other.leave("the script ended")
    with pytest.raises(RankLost, match="Rank 1 does not answer: .*the script ended") as caught:
        leader.wait("word", 1)
    assert caught.value.facts["rank"] == 1


def test_what_a_rank_said_before_it_left_still_arrives() -> None:
    leader, other = pair()
    other.post("word", 1)
    other.leave()
    assert leader.wait("word", 1) == 1


def test_who_waits_for_a_process_that_has_died_is_told_so() -> None:
    leader, other = pair()
    host = processes.own_name().partition(":")[0]
    leader.post("peer/1", [host, f"{host}:999999999:1", 999999999])
    with pytest.raises(RankLost, match="its process 999999999 has died"):
        leader.wait("word", 1)
    assert other.rank == 1


def test_a_silent_rank_of_another_machine_counts_as_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "SILENCE_SECONDS", 0.1)
    leader, _ = pair()
    leader.post("peer/1", ["elsewhere", "elsewhere:1:1", 1])
    with pytest.raises(RankLost, match="on elsewhere has been silent"):
        leader.wait("word", 1)


def test_a_wait_has_an_end_if_one_is_given() -> None:
    leader, _ = pair()
    with pytest.raises(RankLost, match=r"has not answered for 0\.05 seconds"):
        leader.wait("word", 1, seconds=0.05)


def test_a_store_that_is_gone_is_an_error_of_the_family() -> None:
    class Gone:
        def set(self, key: str, value: str) -> None:
            raise RuntimeError("closed")

    with pytest.raises(RankLost, match="cannot reach each other any more: closed"):
        Channel(Gone(), 0, 2)  # type: ignore[arg-type]


@pytest.mark.parametrize(("failed", "lost"), [(True, [(1, "it broke")]), (False, [])])
def test_a_rank_that_failed_is_reported_once_one_that_ended_is_not(
    failed: bool, lost: list[tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "BEAT_SECONDS", 0.01)
    leader, other = pair()
    reported: list[tuple[int, str]] = []
    beats: list[int] = []
    leader.open(
        on_loss=lambda rank, why: reported.append((rank, why)), on_beat=lambda: beats.append(1)
    )
    other.leave("it broke", failed=failed)
    deadline = time.monotonic() + 30
    while (len(beats) < 5 or len(reported) < len(lost)) and time.monotonic() < deadline:
        time.sleep(0.01)
    leader.leave()
    assert reported == lost
    assert leader.others == [1] and leader.leads and not other.leads
