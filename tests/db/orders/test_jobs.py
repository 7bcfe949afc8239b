"""Jobs of launches: a submission is begun by one, recorded once, and what is seen is sealed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.core.launchers import profiles
from branchtrack.core.launchers.jobs import JobStatus
from branchtrack.core.records import Launch
from branchtrack.db import audit, integrity, seals
from branchtrack.db.engine import Database
from branchtrack.db.orders import jobs, launches, queue
from branchtrack.db.tables import launches as table
from tests.trees_for_tests import make_forked_tree

Order = Callable[..., Launch]


@pytest.fixture
def order(database: Database, store: Store) -> Order:
    """Order a launch for Slurm from a node of a tree."""
    tree, made = make_forked_tree(database, store)

    def make(name: str, *options: str, **how: Any) -> Launch:
        launcher = profiles.launcher("slurm", "slurm", options)
        how = {"launcher": launcher, **how}
        order = control.ForkOrder([made[1].id], name=name)
        (launch,) = control.create_launches(tree.database, store, order, actor="ann", **how)
        return launch

    return make


def now(database: Database, launch: Launch) -> Launch:
    with database.read() as connection:
        return launches.get(connection, launch.id)


def begin(database: Database, launch: Launch, submitter: str = "w") -> bool:
    with database.transaction() as connection:
        return jobs.begin(connection, launch, submitter)


def test_one_begins_a_submission_and_another_takes_it_over(
    database: Database, order: Order
) -> None:
    launch, other = order("a"), order("b", launcher=None)
    with database.read() as connection:
        assert [each.id for each in jobs.unsubmitted(connection)] == [launch.id]
        assert jobs.unsubmitted(connection, [other.id]) == []
        assert jobs.with_jobs(connection) == []
    assert begin(database, launch) and not begin(database, launch, "v")
    begun = now(database, launch)
    assert (begun.job_state, begun.worker, begun.state) == ("SUBMITTING", "w", "queued")
    with database.transaction() as connection:
        assert jobs.unsubmitted(connection) == []
        assert jobs.take_over(connection, begun, "v")
        assert not jobs.take_over(connection, begun, "u")
        assert [each.id for each in jobs.with_jobs(connection)] == [launch.id]


def test_a_submission_is_recorded_once_and_logged(database: Database, order: Order) -> None:
    launch = order("a")
    begin(database, launch)
    for job in ("12", "13"):
        with database.transaction() as connection:
            jobs.submitted(connection, now(database, launch), job)
    found = now(database, launch)
    assert (found.job, found.job_state, found.worker) == ("12", "PENDING", None)
    with database.read() as connection:
        reasons = [e.reason for e in audit.since(connection, launch.run_id) if e.ref == launch.id]
        assert reasons[-1] == "Submitted to Slurm as job 12."
        assert seals.holds(connection, table, launch.id)
        assert integrity.of_database(connection) == []


def test_what_a_cluster_says_is_recorded_if_it_is_news(database: Database, order: Order) -> None:
    launch = order("a")
    begin(database, launch)
    with database.transaction() as connection:
        launch = jobs.submitted(connection, now(database, launch), "12")
        jobs.saw(connection, launch, JobStatus("12", "n", "PENDING", "", "Priority"))
        # That of another job of the same name changes nothing.
        jobs.saw(connection, launch, JobStatus("13", "n", "RUNNING", "n01"))
    found = now(database, launch)
    assert (found.job_state, found.job_reason, found.job_host) == ("PENDING", "Priority", None)
    with database.read() as connection:
        assert integrity.of_database(connection) == []


def test_a_launch_of_a_cluster_is_claimed_only_within_its_job(
    database: Database, order: Order
) -> None:
    launch = order("a")

    def claimed(job: str | None, launch_id: str | None = launch.id) -> bool:
        columns = None if job is None else jobs.of_claim(job, "n01")
        with database.transaction() as connection:
            return queue.claim(connection, "w", launch_id, job=columns) is not None

    assert not claimed(None) and not claimed(None, None)
    begin(database, launch)
    with database.transaction() as connection:
        jobs.submitted(connection, now(database, launch), "12")
    assert not claimed("13") and claimed("12") and not claimed("12")
    found = now(database, launch)
    assert (found.job, found.job_state, found.job_host) == ("12", "RUNNING", "n01")


def test_a_job_that_begins_before_it_is_recorded_records_itself(
    database: Database, order: Order
) -> None:
    launch = order("a")
    begin(database, launch)
    begun = now(database, launch)
    with database.transaction() as connection:
        columns = jobs.of_claim("12", "n01")
        assert queue.claim(connection, "in job", launch.id, job=columns) is not None
        jobs.submitted(connection, begun, "12")
    found = now(database, launch)
    assert (found.state, found.worker, found.job) == ("starting", "in job", "12")


def test_a_launch_gets_another_job_or_none(database: Database, order: Order) -> None:
    launch = order("a", retries=2)
    begin(database, launch)
    with database.transaction() as connection:
        launch = jobs.submitted(connection, now(database, launch), "12")
        assert jobs.again(connection, launch, "Submitted again.", 1)
        assert not jobs.again(connection, launch, "Submitted again.", 0)
    found = now(database, launch)
    assert (found.job, found.job_state, found.retries) == (None, None, 1)
    begin(database, launch)
    with database.transaction() as connection:
        jobs.postpone(connection, now(database, launch), "It does not answer.")
    assert now(database, launch).job_reason == "It does not answer."
    with database.transaction() as connection:
        jobs.drop(connection, launch)
    assert now(database, launch).job_state is None
    with database.read() as connection:
        assert integrity.of_database(connection) == []
