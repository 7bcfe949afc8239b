from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist

from branchtrack.checkpoints.location import open_store
from branchtrack.training.ranks.channel import Channel
from branchtrack.training.record.committer import Point
from branchtrack.training.record.jobs import JobQueue
from branchtrack.training.record.ranks import joint
from branchtrack.training.record.ranks.part import PartCommitter
from branchtrack.training.settings.live import Live


class Pair:
    """Rank 1 with a committer, and the channel on which rank 0 speaks to it."""

    def __init__(self, folder: Path) -> None:
        shared = dist.HashStore()
        self.leader, self.channel = Channel(shared, 0, 2), Channel(shared, 1, 2)
        self.store = open_store(folder / "home" / "store")
        self.jobs = JobQueue(self._attempt, lambda: False)
        self.jobs.thread.start()
        self.committer = PartCommitter(self.channel, self.store, self.jobs, "database")
        self.model = torch.nn.BatchNorm1d(3)
        optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.live = Live(self.model, optimizer, None, SimpleNamespace(), [True])

    def _attempt(self, job: Any) -> bool:
        job()
        return True

    def point(self, **extra: Any) -> Point:
        """Where training is."""
        return Point(self.live, 3, 0.5, lambda: extra, dict)

    def part(self, number: int) -> joint.Part:
        """What it says that it holds."""
        return joint.Part.from_json(self.leader.take(f"commit/{number}/part/1", 1, seconds=60))

    def write(self, number: int, attempt: int, digests: list[str]) -> Any:
        """Have it write some tensors; returns what it says of that."""
        self.order(number, attempt, digests)
        return self.answer(number, attempt)

    def order(self, number: int, attempt: int, digests: list[str]) -> None:
        """Order it to write some tensors."""
        self.leader.post(f"commit/{number}/write", [attempt, {"0": [], "1": digests}])

    def answer(self, number: int, attempt: int) -> Any:
        """What it says of an order."""
        return self.leader.wait(
            f"commit/{number}/pack/1", 1, seconds=60, fits=lambda key, said: said[0] == attempt
        )[1]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """Two ranks; the jobs of rank 1 end with the test."""
    both = Pair(tmp_path)
    yield both
    both.leader.leave()
    both.jobs.close()


def test_a_rank_says_what_it_holds_and_writes_what_it_is_asked_for(pair: Pair) -> None:
    pair.committer.commit(pair.point(position=2))
    part = pair.part(1)
    means = next(e for e in part.entries if e.name == "ranks/1/model/running_mean")
    pack = joint.pack_from_json(pair.write(1, 1, [means.digest]))
    assert [place.digest for place in pack.locations] == [means.digest]
    assert pair.store.read(pack.locations[0]) == bytes(12)
    assert part.state["loop"] == {"position": 2}


def test_a_pack_is_written_again_if_rank_0_asks_again(pair: Pair) -> None:
    pair.committer.commit(pair.point())
    digest = pair.part(1).entries[0].digest
    first = pair.write(1, 1, [digest])
    pair.store.delete(first["id"])
    assert pair.write(1, 2, [digest])["id"] == first["id"]
    assert pair.store.exists(first["id"])


def test_a_rank_that_cannot_write_says_why_and_can_be_asked_again(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.committer.commit(pair.point())
    digest = pair.part(1).entries[0].digest
    with monkeypatch.context() as patch:
        patch.setattr(pair.store, "put", lambda *given: 1 / 0)
        assert pair.write(1, 1, [digest])["error"] == "division by zero"
    assert pair.write(1, 2, [digest])["nbytes"] > 0


def test_a_rank_that_is_slow_to_write_carries_out_the_newest_order_that_it_missed(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.committer.commit(pair.point())
    digest = pair.part(1).entries[0].digest
    put, begun, may_end = pair.store.put, threading.Event(), threading.Event()

    def slow(*given: Any) -> Any:
        begun.set()
        assert may_end.wait(60)
        return put(*given)

    monkeypatch.setattr(pair.store, "put", slow)
    pair.order(1, 1, [digest])
    assert begun.wait(60)
    # Rank 0 has failed by itself meanwhile, and begun anew each time.
    for attempt in (2, 3, 7):
        pair.order(1, attempt, [digest])
    may_end.set()
    assert pair.answer(1, 7)["nbytes"] > 0
    pair.leader.post("commit/1/done", "recorded")
    assert pair.committer._free.wait(60)


def test_a_rank_that_is_slow_to_write_learns_that_the_commit_was_given_up(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.committer.commit(pair.point())
    digest = pair.part(1).entries[0].digest
    begun, may_end = threading.Event(), threading.Event()

    def slow(*given: Any) -> None:
        begun.set()
        assert may_end.wait(60)
        raise OSError("no space")

    monkeypatch.setattr(pair.store, "put", slow)
    pair.order(1, 1, [digest])
    assert begun.wait(60)
    pair.order(1, 2, [digest])
    pair.leader.post("commit/1/done", joint.GIVEN_UP)
    may_end.set()
    assert pair.committer._free.wait(60)


def test_the_next_commit_waits_until_rank_0_has_recorded_the_one_before(pair: Pair) -> None:
    pair.committer.commit(pair.point())
    pair.part(1)
    second = threading.Thread(target=pair.committer.commit, args=(pair.point(),))
    second.start()
    second.join(0.2)
    assert second.is_alive()
    pair.leader.post("commit/1/done", "recorded")
    second.join(60)
    assert pair.part(2).entries


def test_a_state_that_cannot_be_captured_is_said_and_holds_up_nothing(pair: Pair) -> None:
    pair.committer.commit(pair.point(what=object()))
    said = pair.leader.take("commit/1/part/1", 1, seconds=60)
    assert "neither plain data nor a tensor" in said["error"]
    pair.committer.commit(pair.point())
    assert pair.part(2).entries


def test_a_rank_that_waits_for_rank_0_goes_on_if_that_has_left(pair: Pair) -> None:
    pair.committer.prepare(pair.live)
    pair.committer.commit(pair.point())
    pair.part(1)
    pair.leader.leave("it broke")
    assert pair.committer._free.wait(60)
