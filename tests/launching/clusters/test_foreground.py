"""A command submits launches, and follows each to the end of its job."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from branchtrack.core.records import Launch, Segment
from branchtrack.db import segments
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches
from branchtrack.errors import StorageError
from branchtrack.launching.clusters import foreground
from branchtrack.launching.clusters.shepherd import Shepherd
from tests.launching.clusters.fake_cluster import FakeCluster

Order = Callable[..., Launch]
Claim = Callable[..., Launch]


@pytest.fixture
def quick(shepherd: Shepherd) -> Shepherd:
    shepherd.every = 0.0
    return shepherd


def test_submitting_returns_as_soon_as_all_have_jobs(
    on_slurm: Order, fake: FakeCluster, quick: Shepherd
) -> None:
    made = [on_slurm(name) for name in "ab"]
    found = foreground.submit(quick, [launch.id for launch in made])
    assert sorted(launch.job or "" for launch in found) == ["1", "2"]
    fake.refusal = "No such partition."
    (refused,) = foreground.submit(quick, [on_slurm("c").id])
    assert refused.state == "failed"


def test_a_launch_is_followed_until_its_job_is_over(
    on_slurm: Order, fake: FakeCluster, quick: Shepherd, claim: Claim, database: Database
) -> None:
    launch, seen = on_slurm("a"), list[str]()

    def watch(shown: Launch, segment: Segment) -> None:
        seen.append(f"{shown.job_state} {segment.status}")
        if len(seen) == 2:
            fake.say("1", "RUNNING", "n01")
            claim(launch)
        elif len(seen) == 3:
            with database.transaction() as connection:
                segments.end(connection, launch.segment_id, "finished", actor="fake")
                launches.move(connection, launch.id, "ended", "w", exit_code=0)
            fake.say("1", "COMPLETED", "n01")

    (ended,) = foreground.follow(quick, [launch.id], watch)
    assert (ended.state, ended.job_state, ended.job_host) == ("ended", "COMPLETED", "n01")
    assert seen[0] == "PENDING waiting" and seen[-1] == "RUNNING running"


def test_what_the_watcher_raises_leaves_the_job(
    on_slurm: Order, fake: FakeCluster, quick: Shepherd
) -> None:
    def interrupted(shown: Launch, segment: Segment) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        foreground.follow(quick, [on_slurm("a").id], interrupted)
    assert not [question for question in fake.asked if question.startswith("cancel")]


def test_a_database_that_fails_is_tried_again_once_there_are_jobs(
    on_slurm: Order, fake: FakeCluster, quick: Shepherd, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch, look = on_slurm("a"), Shepherd.look
    fails = iter([True, False, True])

    def failing(self: Shepherd) -> None:
        should_fail = next(fails, None)
        if should_fail:
            raise StorageError("The connection was ended.")
        if should_fail is None:
            fake.say("1", "CANCELLED", "")
        look(self)

    monkeypatch.setattr(Shepherd, "look", failing)
    with pytest.raises(StorageError):
        foreground.follow(quick, [launch.id], lambda shown, segment: None)
    (ended,) = foreground.follow(quick, [launch.id], lambda shown, segment: None)
    assert ended.state == "failed" and next(fails, None) is None
