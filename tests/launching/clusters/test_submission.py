"""A job is submitted once, whoever dies, and whatever the cluster does not say."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from branchtrack import control, trust
from branchtrack.config import Config
from branchtrack.core.records import Launch
from branchtrack.db.engine import Database
from branchtrack.db.orders import jobs
from branchtrack.errors import ClusterUnreachable, UntrustedHome
from branchtrack.launching.clusters import submission
from tests.launching.clusters.fake_cluster import FakeCluster
from tests.launching.helpers import is_withdrawn, reread

Order = Callable[..., Launch]


def begun_by(database: Database, launch: Launch, worker: str) -> Launch:
    with database.transaction() as connection:
        assert jobs.begin(connection, launch, worker)
    return reread(database, launch)


def test_a_launch_gets_one_job(
    on_slurm: Order, fake: FakeCluster, database: Database, config: Config
) -> None:
    launch = on_slurm("a")
    for _ in range(2):
        found = submission.submit(database, config, fake, launch, "w")
        assert (found.job, found.job_state, found.worker) == ("1", "PENDING", None)
    assert len(fake.submitted) == 1


def test_a_home_that_is_not_trusted_submits_nothing(
    on_slurm: Order, fake: FakeCluster, database: Database, config: Config
) -> None:
    launch = on_slurm("a")
    trust.forget(config)
    with pytest.raises(UntrustedHome):
        submission.submit(database, config, fake, launch, "w")
    assert reread(database, launch).job_state is None and not fake.asked


def test_a_refusal_withdraws_the_branch(
    on_slurm: Order, fake: FakeCluster, database: Database, config: Config
) -> None:
    launch, fake.refusal = on_slurm("a"), "No such partition."
    found = submission.submit(database, config, fake, launch, "w")
    assert (found.state, found.error) == ("failed", "No such partition.")
    assert is_withdrawn(database, launch) and found.job_state is None


@pytest.mark.parametrize("is_accepted", [True, False])
def test_after_a_silence_the_job_is_looked_for_first(
    is_accepted: bool, on_slurm: Order, fake: FakeCluster, database: Database, config: Config
) -> None:
    launch, fake.is_accepted_silently = on_slurm("a"), is_accepted
    with pytest.raises(ClusterUnreachable):
        submission.submit(database, config, fake, launch, "w")
    waits = reread(database, launch)
    assert (waits.job_state, waits.job_reason) == ("SUBMITTING", "It does not answer.")
    fake.is_accepted_silently = None
    found = submission.resume(database, config, fake, waits, "w")
    assert found.job == "1" and len(fake.submitted) == 1
    assert ("jobs 1" in fake.asked) and found.job_state == "PENDING"


def test_what_a_dead_submitter_began_is_gone_on_with(
    on_slurm: Order, fake: FakeCluster, database: Database, config: Config, dead_worker: str
) -> None:
    launch = begun_by(database, on_slurm("a"), dead_worker)
    assert submission.resume(database, config, fake, launch, "w").job == "1"


def test_what_a_living_one_began_is_left_to_it(
    on_slurm: Order, fake: FakeCluster, database: Database, config: Config
) -> None:
    from branchtrack import processes

    launch = begun_by(database, on_slurm("a"), processes.own_name())
    other = begun_by(database, on_slurm("b"), "elsewhere:1:1")
    for each in (launch, other):
        assert submission.resume(database, config, fake, each, "w").job is None
    assert not fake.submitted


def test_nothing_is_submitted_for_a_launch_that_was_cancelled_meanwhile(
    on_slurm: Order, fake: FakeCluster, database: Database, config: Config
) -> None:
    launch = begun_by(database, on_slurm("a"), "w")
    control.cancel_launch(database, launch.id, actor="ann")
    found = submission.resume(database, config, fake, reread(database, launch), "w")
    assert not fake.submitted and reread(database, found).job_state is None
