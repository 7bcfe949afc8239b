"""Jobs looked after: what their cluster says is recorded, and nothing is left stuck."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.config import Config
from branchtrack.core.records import Launch
from branchtrack.db import requests, segments
from branchtrack.db.engine import Database
from branchtrack.errors import InvalidInput
from branchtrack.launching.clusters import watch
from branchtrack.launching.clusters.shepherd import Shepherd
from branchtrack.launching.clusters.watch import Watch, current
from tests.launching.clusters.fake_cluster import FakeCluster
from tests.launching.helpers import is_withdrawn, reread, segment_status

Order = Callable[..., Launch]
Claim = Callable[..., Launch]
Look = Callable[[], None]


def test_one_question_is_asked_for_all_jobs(
    on_slurm: Order, fake: FakeCluster, look: Look, database: Database
) -> None:
    made = [on_slurm(name) for name in "abc"]
    look()
    fake.asked.clear()
    look()
    assert fake.asked == ["jobs 3"]
    assert {reread(database, launch).job_reason for launch in made} == {"Priority"}
    fake.say("1", "RUNNING", "n01")
    look()
    first = reread(database, made[0])
    assert (first.job_state, first.job_host, first.job_reason) == ("RUNNING", "n01", None)


def test_a_job_that_is_not_listed_is_asked_for_and_then_lost(
    on_slurm: Order, fake: FakeCluster, look: Look, database: Database
) -> None:
    launch = on_slurm("a")
    look()
    fake.lists = False
    look()
    assert fake.asked[-1] == "fate 1" and reread(database, launch).state == "queued"
    fake.knows = False
    look()
    lost = reread(database, launch)
    assert (lost.state, lost.job_state) == ("failed", "UNKNOWN") and is_withdrawn(database, launch)
    fake.asked.clear()
    look()
    assert fake.asked == []


def test_nothing_is_judged_while_the_cluster_is_silent(
    on_slurm: Order, fake: FakeCluster, look: Look, database: Database
) -> None:
    launch = on_slurm("a")
    look()
    fake.is_up = fake.lists = fake.knows = False
    look()
    assert reread(database, launch).state == "queued"


@pytest.mark.parametrize("is_known", [True, False], ids=["failed", "forgotten"])
def test_a_training_that_outlives_its_job_is_lost_only_when_it_is_silent(
    is_known: bool,
    on_slurm: Order,
    fake: FakeCluster,
    look: Look,
    claim: Claim,
    fall_silent: Callable[[Launch], None],
    database: Database,
    store: Store,
) -> None:
    launch = on_slurm("a")
    look()
    claim(launch)
    fake.say("1", "FAILED")
    fake.lists = fake.knows = is_known
    look()
    assert reread(database, launch).state == "running"
    assert segment_status(database, launch) == "running"
    # Nobody else may train the branch meanwhile.
    with pytest.raises(InvalidInput):
        control.continue_branch(database, store, launch.branch_id, actor="me")
    fall_silent(launch)
    look()
    assert reread(database, launch).state == "failed"


def test_a_cancelled_training_that_has_outlived_its_job_is_asked_to_stop(
    on_slurm: Order, fake: FakeCluster, look: Look, claim: Claim, database: Database
) -> None:
    launch = on_slurm("a")
    look()
    claim(launch)
    fake.say("1", "FAILED")
    control.cancel_launch(database, launch.id, actor="ann")
    look()
    look()
    with database.read() as connection:
        (request,) = requests.waiting(connection, launch.segment_id)
    assert (request.kind, request.reason) == ("stop", "Cancelled by ann.")
    with database.transaction() as connection:
        segments.end(connection, launch.segment_id, "stopped", actor="fake")
    look()
    assert reread(database, launch).state == "cancelled"


def test_a_job_that_waits_after_its_launch_had_begun_runs_again(
    on_slurm: Order,
    fake: FakeCluster,
    look: Look,
    claim: Claim,
    fall_silent: Callable[[Launch], None],
    database: Database,
) -> None:
    launch = on_slurm("a")
    look()
    claim(launch)
    look()
    # What trained before may still be alive.
    assert current(database, launch.id).id == launch.id
    fall_silent(launch)
    look()
    again = current(database, launch.id)
    assert again.id != launch.id and (again.state, again.job, again.job_state) == (
        "queued",
        "1",
        "PENDING",
    )
    # It is asked for by the name that its job was submitted under, and not made twice.
    look()
    assert current(database, launch.id).id == again.id and len(fake.submitted) == 1
    assert reread(database, again).job_reason == "Priority"


def test_a_launch_that_waits_is_cancelled_with_its_job(
    on_slurm: Order, fake: FakeCluster, look: Look, database: Database
) -> None:
    launch = on_slurm("a")
    look()
    control.cancel_launch(database, launch.id, actor="ann")
    look()
    assert "cancel 1" in fake.asked
    look()
    assert reread(database, launch).job_state == "CANCELLED"


def test_a_training_is_asked_first_and_ended_if_it_does_not_end(
    on_slurm: Order,
    fake: FakeCluster,
    look: Look,
    claim: Claim,
    fall_silent: Callable[[Launch], None],
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    launch = on_slurm("a")
    look()
    claim(launch)
    fake.say("1", "RUNNING", "n01")
    control.cancel_launch(database, launch.id, actor="ann")
    look()
    look()
    assert fake.asked.count("ask 1") == 1 and "cancel 1" not in fake.asked
    monkeypatch.setattr(watch, "GRACE", -100.0)
    look()
    assert fake.asked[-1] == "cancel 1"
    fall_silent(launch)
    look()
    assert reread(database, launch).state == "cancelled"


def test_a_second_job_of_the_same_name_is_ended(
    on_slurm: Order, fake: FakeCluster, look: Look, database: Database
) -> None:
    launch = on_slurm("a")
    look()
    second = fake.add(f"branchtrack-{launch.id}")
    look()
    assert f"cancel {second}" in fake.asked and reread(database, launch).job == "1"


def test_a_cancelled_launch_hurries_the_one_who_looks(
    on_slurm: Order, fake: FakeCluster, look: Look, shepherd: Shepherd, database: Database
) -> None:
    launch = on_slurm("a")
    look()
    shepherd.every, shepherd._next_question = 60.0, 1e12
    shepherd._next_look = 0.0
    control.cancel_launch(database, launch.id, actor="ann")
    shepherd.look()
    assert fake.asked[-1] == "cancel 1"


def test_a_job_that_another_has_submitted_again_is_left_alone(
    on_slurm: Order, fake: FakeCluster, look: Look, database: Database, config: Config
) -> None:
    launch = on_slurm("a", retries=1)
    look()
    before = reread(database, launch)
    fake.say("1", "FAILED")
    look()
    look()
    assert reread(database, launch).job == "2"
    # Who had read the launch before that comes too late.
    late = Watch(database, config)
    late.look(fake, [before])
    after = reread(database, launch)
    assert (after.job, after.state, after.retries) == ("2", "queued", 0)
    assert "cancel 2" not in fake.asked
