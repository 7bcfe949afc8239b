"""Every event of a run reaches a reader once, in its order."""

from __future__ import annotations

from branchtrack.db import audit
from branchtrack.web.events import pump
from branchtrack.web.events.log_followers import LogFollower
from tests.web.conftest import Site


def follower(own: Site, cursor: int) -> LogFollower:
    return LogFollower(own.database, own.lines["main"].grower.run, cursor)


def test_events_come_with_their_numbers_and_then_only_new_ones(own: Site) -> None:
    reader = follower(own, 0)
    seen = [data["seq"] for _name, data in reader.look()]
    assert seen == list(range(1, len(seen) + 1)) and reader.look() == []
    own.lines["main"].commit("checkpoint", 41)
    ((name, data), *_others) = reader.look()
    assert (name, data["seq"], reader.id_after(data)) == (
        "event",
        len(seen) + 1,
        str(len(seen) + 1),
    )


def test_a_reader_that_stops_within_a_look_goes_on_after_its_last_message(own: Site) -> None:
    text = pump.as_messages(follower(own, 0))
    ids = [int(line.removeprefix("id: ")) for line in text.splitlines() if line.startswith("id: ")]
    with own.database.read() as connection:
        events = audit.after(connection, own.lines["main"].grower.run.id, 0, 100)
    assert ids == [event.seq for event in events]
    first = follower(own, ids[1]).look()[0][1]
    assert first["seq"] == ids[2]


def test_readers_of_one_cursor_share_their_looks(own: Site) -> None:
    assert follower(own, 2).state == follower(own, 2).state != follower(own, 3).state
