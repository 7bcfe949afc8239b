"""A training killed at any moment leaves nothing behind that is listed and cannot be restored."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from multiprocessing.context import ForkServerContext

import pytest
from sqlalchemy import select

from branchtrack import control
from branchtrack.core.records import Run
from branchtrack.db import audit, nodes
from branchtrack.db.tables import checkpoints, packs, requests
from branchtrack.db.views import run_list
from tests.training import jobs
from tests.training.homes import Home

#: Trainings that are killed at a random moment.
AT_RANDOM = int(os.environ.get("BRANCHTRACK_TEST_KILLS", "4"))


@pytest.fixture(scope="module")
def server() -> ForkServerContext:
    """The server that processes are forked from."""
    return jobs.context()


@pytest.fixture(scope="module")
def scene(
    server: ForkServerContext, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Home, list[int]]]:
    """A home in which trainings were killed; and how many nodes each had then."""
    home = Home(tmp_path_factory.mktemp("kills"))
    chance = random.Random(1)
    points: list[str | None] = [*jobs.FAIL_POINTS, *[None] * AT_RANDOM]
    counts = []
    for number, point in enumerate(points):
        begun, pestered = server.Event(), number % 3 > 0
        process = server.Process(
            target=jobs.victim, args=(home.folder, f"v{number}", pestered, point, begun)
        )
        process.start()
        if point is None:
            assert begun.wait(60)
            process.join(chance.uniform(0.02, 0.4))
            process.kill()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL, point
        counts.append(len(home.nodes(f"v{number}/main")))
    yield home, counts
    home.close()


def all_runs(home: Home) -> list[Run]:
    with home.database.read() as connection:
        return [summary.run for summary in run_list.find_runs(connection)]


def test_the_trainings_were_killed_in_the_middle(scene: tuple[Home, list[int]]) -> None:
    home, counts = scene
    assert len(all_runs(home)) == len(counts) == len(jobs.FAIL_POINTS) + AT_RANDOM
    assert all(count < 40 for count in counts) and sum(counts) > len(counts), counts


def test_every_listed_node_verifies_and_loads(scene: tuple[Home, list[int]]) -> None:
    home, counts = scene
    checked = 0
    for run in all_runs(home):
        for node in home.nodes(f"{run.name}/main"):
            manifest = control.verify_node(home.database, home.store, node)
            snapshot = home.snapshot(node)
            assert manifest.digest == node.state_digest
            assert len(snapshot.tensors) == len(manifest.entries) > 20
            checked += 1
    assert checked == sum(counts)


def test_parents_heads_and_steps_are_consistent(scene: tuple[Home, list[int]]) -> None:
    home, _ = scene
    for run in all_runs(home):
        found = home.nodes(f"{run.name}/main")
        ids = [None, *(n.id for n in found)]
        assert [n.parent_id for n in found] == ids[:-1]
        assert [n.step for n in found] == sorted(n.step for n in found)
        assert home.branch(f"{run.name}/main").head_id == ids[-1]
        assert home.segment(f"{run.name}/main").step >= max((n.step for n in found), default=0)


def test_every_listed_node_has_the_whole_curve_that_leads_to_it(
    scene: tuple[Home, list[int]],
) -> None:
    home, _ = scene
    for run in all_runs(home):
        for last in home.nodes(f"{run.name}/main")[-1:]:
            steps = home.points("loss", last.segment_id).keys()
            assert set(range(1, last.step + 1)) <= steps, run.name


def test_the_chain_of_events_is_whole_and_tells_of_every_node(
    scene: tuple[Home, list[int]],
) -> None:
    home, _ = scene
    for run in all_runs(home):
        with home.database.read() as connection:
            assert audit.first_broken_seq(connection, run.id) is None
            events = audit.since(connection, run.id)
        told = [event.ref for event in events if event.kind == "node"]
        assert told == [node.id for node in home.nodes(f"{run.name}/main")]


def test_no_request_says_that_it_was_carried_out_without_its_node(
    scene: tuple[Home, list[int]],
) -> None:
    home, _ = scene
    with home.database.read() as connection:
        rows = connection.execute(select(requests)).all()
        known = set(nodes.list_ids(connection))
    answered = [r for r in rows if r.state in ("applied", "verified", "done")]
    assert answered
    for row in answered:
        assert row.node_id in known if row.kind != "evaluate" else row.step is not None


def test_the_database_is_sound_and_names_no_pack_that_is_missing(
    scene: tuple[Home, list[int]],
) -> None:
    home, _ = scene
    with home.database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
        listed = set(connection.execute(select(packs.c.id)).scalars())
        states = set(connection.execute(select(checkpoints.c.digest)).scalars())
    on_disk = {path.stem for path in (home.config.store / "packs").rglob("*.safetensors")}
    assert listed <= on_disk
    digests = {n.state_digest for r in all_runs(home) for n in home.nodes(f"{r.name}/main")}
    assert states == digests


@pytest.fixture(scope="module")
def whole(shared_home: Home) -> str:
    """The state in which the training ends undisturbed."""
    shared_home.train(**{**jobs.VICTIM, "save_strategy": "no"})
    return shared_home.final().state_digest


@pytest.mark.parametrize("number", [0, 3])
def test_a_killed_training_is_gone_on_with_exactly(
    number: int, scene: tuple[Home, list[int]], whole: str
) -> None:
    home, _ = scene
    last = home.nodes(f"v{number}/main")[-1]
    launch = home.resume(last, {"save_steps": 1000}, **jobs.VICTIM)
    assert home.final(launch).state_digest == whole
    assert home.chain_break(f"v{number}") is None


def test_of_two_processes_with_one_launch_exactly_one_trains(
    server: ForkServerContext, home: Home
) -> None:
    how = {"save_steps": 4, "max_steps": 8}
    home.train(**how)
    launch = home.order(home.node(4))
    told = server.Queue()
    job = {"target": jobs.resume, "args": (home.folder, launch, told), "kwargs": how}
    both = [server.Process(**job) for _ in range(2)]
    for process in both:
        process.start()
    found = sorted(told.get(timeout=60) for _ in both)
    for process in both:
        process.join(60)
    (refused, why), (trained, nothing) = found
    assert (refused, trained, nothing) == (0, 4, None)
    assert "cannot become running" in why
    assert home.final(launch).state_digest == home.final().state_digest
    assert home.segment(launch.branch_id).status == "finished"
