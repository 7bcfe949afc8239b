"""A team on PostgreSQL: forks of one run log, are steered and commit at once; two are killed."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from branchtrack import config, control
from branchtrack.core import lifecycle
from branchtrack.db import requests, runs, segments
from branchtrack.db.engine import Database
from branchtrack.db.schema import open_database
from tests.benchmarks import bench_team, team
from tests.benchmarks.team import RUN, Team

pytestmark = pytest.mark.scenario

TRAINERS, ASKERS, KILLED = 12, 3, 2
#: What may become of a request to a training that answers.
ANSWERED = {"verified", "done", "superseded"}


@pytest.fixture
def own(tmp_path: Path, empty_postgres: str) -> Team:
    """A team with a home and an empty database."""
    return Team(tmp_path / "home", empty_postgres, 0.05)


@pytest.fixture
def database(own: Team) -> Iterator[Database]:
    """The database of the team, with tables."""
    made = open_database(config.load(own.home, own.url), create=True)
    yield made
    made.close()


def ended(database: Database, names: list[str]) -> dict[str, str]:
    """The state of each branch's process."""
    with database.read() as connection:
        found = {name: runs.find_branch(connection, f"{RUN}/{name}") for name in names}
        return {
            name: lifecycle.segment_status(
                segments.get(connection, branch.segment_id or ""), time.time()
            )
            for name, branch in found.items()
        }


@pytest.mark.timeout(900)
def test_of_twelve_trainers_that_are_steered_at_once_nothing_is_lost(
    own: Team, database: Database
) -> None:
    context = team.context()
    node = bench_team.root(own, context, database)
    names = [f"trainer-{number}" for number in range(TRAINERS)]
    branches = [f"{RUN}/{name}" for name in names]
    over, unasked, ready = context.Event(), context.Event(), context.Semaphore(0)
    training = [context.Process(target=team.train, args=(own, name, node, over)) for name in names]
    for process in training:
        process.start()
    assert bench_team.live(database, branches, seconds=300)
    asking = [
        context.Process(target=team.ask, args=(own, number, branches, 1.0, ready, unasked))
        for number in range(ASKERS)
    ]
    for process in asking:
        process.start()
    deadline = time.monotonic() + 300
    while _count(database) < 4 * TRAINERS and time.monotonic() < deadline:
        time.sleep(0.1)
    for process in training[:KILLED]:
        process.kill()
    while _count(database) < 8 * TRAINERS and time.monotonic() < deadline:
        time.sleep(0.1)
    for event, processes in ((unasked, asking), (over, training)):
        event.set()
        for process in processes:
            process.join(300)
    codes = [process.exitcode for process in training]
    assert codes == [-signal.SIGKILL] * KILLED + [0] * (TRAINERS - KILLED)
    assert [process.exitcode for process in asking] == [0] * ASKERS

    # Each request that was acknowledged has ended, and in a state that is right for its branch.
    with database.read() as connection:
        run = runs.find_run(connection, RUN)
    while set(ended(database, names[:KILLED]).values()) & lifecycle.LIVE:
        time.sleep(0.2)
    control.expire_hanging(database, run.id, "test")
    reports = [json.loads(own.report(f"asker-{number}").read_text()) for number in range(ASKERS)]
    acknowledged = [request for report in reports for request in report["requests"]]
    states = team.settled(database, acknowledged)
    with database.read() as connection:
        every = {each.id: each for each in requests.list_of_run(connection, run.id, 10_000)}
        dead = {runs.find_branch(connection, f"{RUN}/{name}").id for name in names[:KILLED]}
    assert every.keys() >= states.keys() and len(states) >= 8 * TRAINERS
    of_living = {ref: state for ref, state in states.items() if every[ref].branch_id not in dead}
    assert set(of_living.values()) <= ANSWERED
    assert set(states.values()) <= ANSWERED | {"expired", "failed"}
    # Who was refused had asked for a branch whose process had been killed.
    refused = [line for report in reports for line in report["refused"]]
    assert all(line.startswith("NotLive") for line in refused), refused

    record = bench_team.record(own, database, [RUN], names, is_one=True)
    assert record["points_lost"] == 0 and record["points"] > 0
    assert record["nodes_broken"] == 0 and record["nodes"] > TRAINERS
    assert record["problems"] == []
    assert team.load_of_server(database)["deadlocks"] == 0
    assert set(ended(database, names[KILLED:]).values()) == {"finished"}


def _count(database: Database) -> int:
    """How many requests there have been."""
    with database.read() as connection:
        return requests.count_of_run(connection, runs.find_run(connection, RUN).id)
