"""Launches of clusters that others end: refused, lost with a sentence, prepared to run again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from branchtrack import control
from branchtrack.config import Config
from branchtrack.core.launchers.jobs import UNKNOWN, JobStatus
from branchtrack.core.records import Launch
from branchtrack.db import audit, segments
from branchtrack.db.engine import Database
from branchtrack.launching.clusters import endings, job_files
from tests.launching.clusters.fake_cluster import FakeCluster
from tests.launching.helpers import is_withdrawn, reread, segment_status

Order = Callable[..., Launch]
Claim = Callable[..., Launch]
Look = Callable[[], None]


def run_again(database: Database, launch: Launch) -> Launch | None:
    with database.transaction() as connection:
        return endings.run_again(connection, reread(database, launch))


def test_a_lost_job_ends_its_launch_with_what_its_script_printed(
    on_slurm: Order, fake: FakeCluster, look: Look, database: Database, config: Config
) -> None:
    launch = on_slurm("a")
    look()
    job_files.output(config, launch.id).write_text("error: this home is not trusted\n")
    status = JobStatus("1", "n", "FAILED", "n01", "NonZeroExitCode", "squeue")
    lost = endings.lose(database, config, launch, status)
    assert lost.state == "failed" and is_withdrawn(database, launch)
    assert lost.error == (
        "Slurm says of job 1 on n01: FAILED (NonZeroExitCode), by squeue. Its script printed: "
        "error: this home is not trusted"
    )


def test_a_training_that_is_lost_is_a_failure_and_tried_again_if_it_may_be(
    on_slurm: Order, fake: FakeCluster, look: Look, claim: Claim, database: Database, config: Config
) -> None:
    launch = on_slurm("a", retries=1)
    look()
    claim(launch)
    lost = endings.lose(database, config, launch, JobStatus("1", "n", UNKNOWN))
    assert lost.state == "failed" and segment_status(database, launch) == "failed"
    assert lost.error == "Slurm does not know job 1 any more, and nothing says how it ended."
    look()
    again = control.cancel_launch(database, _newest(database, launch).id, actor="me")
    assert (again.retry_of, again.job) == (launch.id, "2") and again.launcher == launch.launcher


def _newest(database: Database, launch: Launch) -> Launch:
    from branchtrack.launching.clusters.watch import current

    return current(database, launch.id)


def test_a_launch_that_had_trained_nothing_is_the_one_that_runs_again(
    on_slurm: Order, fake: FakeCluster, look: Look, claim: Claim, database: Database
) -> None:
    launch = on_slurm("a")
    look()
    assert (run_again(database, launch) or launch).state == "queued"
    claim(launch, trains=False)
    again = run_again(database, launch)
    assert again is not None and (again.id, again.state, again.job) == (launch.id, "queued", "1")


def test_a_training_goes_on_in_its_branch_by_another_launch_of_the_same_job(
    on_slurm: Order, fake: FakeCluster, look: Look, claim: Claim, database: Database
) -> None:
    launch = on_slurm("a", settings={"lr": "0.5"})
    look()
    claim(launch)
    again = run_again(database, launch)
    assert again is not None and (again.job, again.retry_of) == ("1", launch.id)
    assert (again.branch_id, again.kind) == (launch.branch_id, "continue")
    before = reread(database, launch)
    assert before.state == "ended" and "which runs again" in (before.error or "")
    assert segment_status(database, launch) == "stopped"
    # Whoever comes second finds the same.
    assert (run_again(database, launch) or launch).id == again.id
    assert endings.root_id(database, again) == launch.id
    with database.read() as connection:
        assert audit.first_broken_seq(connection, launch.run_id) is None


@pytest.mark.parametrize("end", ["finished", "suspended", "cancelled"])
def test_what_has_ended_on_purpose_does_not_run_again(
    end: str, on_slurm: Order, fake: FakeCluster, look: Look, claim: Claim, database: Database
) -> None:
    launch = on_slurm("a")
    look()
    claim(launch)
    if end == "cancelled":
        control.cancel_launch(database, launch.id, actor="ann")
    else:
        from branchtrack.db.orders import launches

        with database.transaction() as connection:
            segments.end(connection, launch.segment_id, end, actor="fake")
            launches.move(connection, launch.id, "ended", "w")
    assert run_again(database, launch) is None
