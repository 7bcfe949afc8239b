"""Launches that a cluster carries out, for tests of pages."""

from __future__ import annotations

from typing import Any

from branchtrack.core.launchers import profiles
from branchtrack.core.launchers.jobs import JobStatus, job_name
from branchtrack.core.records import Launch
from branchtrack.db.orders import jobs, launches, ordering
from tests.web.conftest import Site


def order_far(own: Site, name: str, **overrides: Any) -> Launch:
    """A launch for Slurm from the head of ``main``; nothing is submitted yet."""
    main = own.lines["main"]
    assert main.head is not None
    with own.database.transaction() as connection:
        return ordering.order(
            connection,
            main.head,
            branch_name=name,
            overrides=overrides,
            mode="exact",
            actor="anna",
            reason="",
            launcher=profiles.launcher("gpu", "slurm", []),
        )


def submit(own: Site, launch: Launch, job: str = "12", reason: str = "") -> None:
    """Give a launch a job that waits in the cluster, for that reason."""
    with own.database.transaction() as connection:
        jobs.begin(connection, launch, "w")
        jobs.submitted(connection, launches.get(connection, launch.id), job)
        status = JobStatus(job, job_name(launch.id), "PENDING", reason=reason)
        jobs.saw(connection, launches.get(connection, launch.id), status)
