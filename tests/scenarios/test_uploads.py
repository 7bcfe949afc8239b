"""Trainings that are killed while they upload: nothing that is listed cannot be restored."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest

from branchtrack import control
from branchtrack.checkpoints.remote import spool as spools
from branchtrack.control import leftovers
from branchtrack.control.store import spooled
from branchtrack.db import audit
from branchtrack.environment_variables import STORE_VARIABLE
from tests.training import jobs, s3_jobs
from tests.training.homes import Home

pytestmark = pytest.mark.scenario

#: Uploads during which a training is killed.
COUNT = int(os.environ.get("BRANCHTRACK_TEST_UPLOADS", "15"))


def check(home: Home, run: str) -> list[int]:
    """The steps of a run's nodes, each of which was restored."""
    listed = home.nodes(f"{run}/main")
    for node in listed:
        assert control.verify_node(home.database, home.store, node).digest == node.state_digest
        assert home.snapshot(node).tensors
    with home.database.read() as connection:
        assert audit.first_broken_seq(connection, home.find_run(run).id) is None
    return [node.step for node in listed]


@pytest.mark.timeout(60 + 30 * COUNT)
def test_of_trainings_killed_during_uploads_every_listed_node_is_restored(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STORE_VARIABLE, bucket)
    names = [STORE_VARIABLE, *(name for name in os.environ if name.startswith("AWS_"))]
    variables = {name: os.environ[name] for name in names}
    forks, chance, home = jobs.context(), random.Random(1), Home(tmp_path)
    listed: dict[str, list[int]] = {}
    for number in range(COUNT):
        begun, run = forks.Event(), f"v{number}"
        arguments = (tmp_path, variables, run, chance.randint(1, 12), begun)
        process = forks.Process(target=s3_jobs.uploader, args=arguments)
        process.start()
        assert begun.wait(120)
        process.join(chance.uniform(0, 0.03))
        process.kill()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        listed[run] = check(home, run)
    opened = Home(tmp_path)
    spooled.finish(opened.database, opened.store)
    leftovers.clear(opened.database, opened.store)
    assert spools.waiting(opened.config.home)[0] == 0
    for run, before in listed.items():
        after = check(opened, run)
        # What had been made is listed in the end, from the root on and without a gap.
        assert after == list(range(len(after))) and after[: len(before)] == before and after
    opened.close()
    home.close()
