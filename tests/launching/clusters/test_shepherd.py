"""The one who looks after launches of clusters: idle without any, patient with silent clusters."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from branchtrack import trust
from branchtrack.config import Config
from branchtrack.core.records import Launch
from branchtrack.db.engine import Database
from branchtrack.launching.clusters.shepherd import Shepherd
from tests.launching.clusters.fake_cluster import FakeCluster
from tests.launching.helpers import reread

Order = Callable[..., Launch]


def test_without_launches_of_clusters_nothing_is_asked(
    order: Order, fake: FakeCluster, shepherd: Shepherd
) -> None:
    order("here")
    shepherd.look()
    assert fake.asked == []


def test_a_cluster_is_asked_as_often_as_is_said(
    on_slurm: Order, fake: FakeCluster, database: Database, config: Config
) -> None:
    launch = on_slurm("a")
    rare = Shepherd(database, config, "w", every=600.0)
    rare.look()
    assert reread(database, launch).job == "1"
    fake.asked.clear()
    rare._next_look = 0.0
    rare.look()
    assert fake.asked == []
    rare.look(at_once=True)
    assert fake.asked == ["jobs 1"]


def test_only_the_launches_that_it_is_for_are_submitted(
    on_slurm: Order, fake: FakeCluster, database: Database, config: Config
) -> None:
    mine, other = on_slurm("a"), on_slurm("b")
    Shepherd(database, config, "w", only=[mine.id]).look()
    assert reread(database, mine).job == "1" and reread(database, other).job is None


@pytest.mark.parametrize("trouble", ["silent", "untrusted"])
def test_trouble_is_said_once_and_tried_again(
    trouble: str, on_slurm: Order, fake: FakeCluster, database: Database, config: Config
) -> None:
    said: list[str] = []
    launch = on_slurm("a")
    one = Shepherd(database, config, "w", say=said.append, every=0.0)
    if trouble == "silent":
        fake.is_up = False
    else:
        trust.forget(config)
    for _ in range(3):
        one.look(at_once=True)
    assert len(said) == 1 and "Trying again" in said[0]
    fake.is_up = True
    trust.mark(config)
    one.look(at_once=True)
    assert reread(database, launch).job == "1"
    assert said[1:] == [f"Launch {launch.id} is job 1 of Slurm"]


def test_a_refusal_is_said_once(
    on_slurm: Order, fake: FakeCluster, database: Database, config: Config
) -> None:
    said: list[str] = []
    launch, fake.refusal = on_slurm("a"), "No such partition."
    one = Shepherd(database, config, "w", say=said.append, every=0.0)
    for _ in range(3):
        one.look(at_once=True)
    assert said == [f"Launch {launch.id} failed: No such partition."]


def test_a_machine_that_is_not_part_of_the_cluster_leaves_it_to_others(
    on_slurm: Order, shepherd: Shepherd, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = on_slurm("a")
    monkeypatch.setenv("PATH", "/nowhere")
    shepherd.look()
    assert reread(database, launch).job_state is None
