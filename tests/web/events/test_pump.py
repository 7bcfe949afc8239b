"""One thread writes to all streams, and looks once for those who know the same."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import pytest

from branchtrack.core.actors import Actor
from branchtrack.db import audit
from branchtrack.web.events import pump
from branchtrack.web.events.followers import Cursor, Follower
from branchtrack.web.events.pump import Pump, Stream, StreamSlot, StreamSlots
from tests.web.conftest import Site


@dataclass
class Reader:
    """Keeps what is written to it."""

    texts: list[str] = field(default_factory=list)
    is_there: bool = True
    has_ended: bool = False

    def send(self, text: str) -> bool:
        """Whether the reader is there still."""
        self.texts.append(text)
        return self.is_there

    def end(self) -> None:
        """The stream is over."""
        self.has_ended = True


@dataclass
class Bench:
    """A pump that the test turns itself, and the looks that it took."""

    site: Site
    pump: Pump
    slots: StreamSlots
    allowed: set[str]
    looks: list[Any]

    def open(self, name: str = "anna", metric: str = "loss", event: int | None = None) -> Reader:
        """A reader of the run from now, or from an event, on."""
        with self.site.database.read() as connection:
            newest = audit.last_id(connection)
        run = self.site.lines["main"].grower.run
        cursor = Cursor(newest if event is None else event)
        slot = self.slots.acquire(name)
        assert slot is not None
        reader = Reader()
        stream = Stream(Follower(self.site.database, run, [metric], cursor), Actor(name), slot)
        self.pump.add(stream, reader)
        return reader

    def tick(self) -> int:
        """Turn it once; returns how many looks that took."""
        self.looks.clear()
        self.pump.tick()
        return len(self.looks)


@pytest.fixture
def bench(own: Site, monkeypatch: pytest.MonkeyPatch) -> Bench:
    slots, allowed, looks = StreamSlots(), {"anna", "ben"}, list[Any]()
    monkeypatch.setattr(threading.Thread, "start", lambda _thread: None)
    look = Follower.look

    def counted(follower: Follower) -> Any:
        looks.append(follower)
        return look(follower)

    monkeypatch.setattr(Follower, "look", counted)
    made = Pump(slots.closing, lambda actor: actor.name in allowed)
    return Bench(own, made, slots, allowed, looks)


def test_many_readers_cost_one_look_and_see_the_same(bench: Bench) -> None:
    readers = [bench.open(name) for name in ("anna", "ben") * 10]
    assert bench.tick() == 1
    bench.site.lines["main"].log("loss", [41], [0.5])
    bench.site.lines["main"].beat()
    assert bench.tick() == 1
    for reader in readers:
        assert "[41,0.5]" in reader.texts[-1] and reader.texts == readers[0].texts
    assert bench.tick() == 1 and len(readers[0].texts) == 2


def test_who_knows_less_is_told_it_and_shares_from_then_on(bench: Bench) -> None:
    bench.open()
    bench.tick()
    late, other = bench.open(event=0), bench.open(metric="accuracy")
    assert bench.tick() == 3
    assert "event: changed" in late.texts[0] and "event: changed" not in other.texts[0]
    assert bench.tick() == 2


def test_who_has_left_or_may_no_longer_look_is_forgotten(bench: Bench) -> None:
    gone, revoked, stays = bench.open("anna"), bench.open("ben"), bench.open("anna")
    gone.is_there = False
    bench.tick()
    bench.allowed.remove("ben")
    bench.site.lines["main"].log("loss", [41], [0.5])
    bench.tick()
    assert gone.has_ended and revoked.has_ended and not stays.has_ended
    assert [len(one.texts) for one in (gone, revoked, stays)] == [1, 1, 2]
    assert bench.slots._taken == {"anna": 1}


def test_a_quiet_stream_shows_that_it_lives(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = bench.open()
    bench.tick()
    bench.tick()
    assert len(reader.texts) == 1
    monkeypatch.setattr(pump, "HEARTBEAT", -1.0)
    bench.tick()
    assert reader.texts[1:] == [pump.ALIVE]


def test_a_look_that_fails_is_taken_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = bench.open()
    good = Follower.look
    monkeypatch.setattr(Follower, "look", lambda _follower: 1 / 0)
    bench.tick()
    assert reader.texts == []
    monkeypatch.setattr(Follower, "look", good)
    bench.tick()
    assert len(reader.texts) == 1


def test_slots_are_bounded_by_caller_and_released_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump, "MOST", 3)
    monkeypatch.setattr(pump, "MOST_EACH", 2)
    slots = StreamSlots()
    first, second = slots.acquire("a"), slots.acquire("a")
    assert isinstance(first, StreamSlot) and second is not None and slots.acquire("a") is None
    assert slots.acquire("b") is not None and slots.acquire("c") is None
    first.release()
    first.release()
    assert slots.acquire("a") is not None and slots.acquire("a") is None
    slots.closing.set()
    second.release()
    assert slots.acquire("a") is None
