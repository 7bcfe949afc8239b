"""Nodes of two processes, resumed by as many or others, in processes that a worker starts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from branchtrack import trust
from branchtrack.core.records import Launch, Node
from branchtrack.launching.foreground import run_launch
from branchtrack.launching.worker import Worker
from tests.training import several
from tests.training.homes import Home


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home in which two processes have trained: replicated, sharded, and by a Trainer."""
    home = Home(tmp_path_factory.mktemp("several"))
    trust.mark(home.config)
    for kind in ("ddp", "fsdp", "trainer"):
        process = several.started(
            "-m", "tests.training.ranked_scripts", "train", kind, "alike", str(home.folder)
        )
        text = several.output(process)
        assert process.returncode == 0, text[-4000:]
    yield home
    home.close()


def resumed(home: Home, node: Node, **settings: object) -> tuple[Launch, Node]:
    """Resume a node as a worker does; returns the launch as it ended, and the newest node."""
    launch = home.order(node, dict(settings))
    worker = Worker(home.database, home.config)
    ended = run_launch(worker, launch.id, lambda launch, segment: None)
    assert ended.state == "ended", Path(ended.log or "").read_text()[-4000:]
    return ended, max(home.nodes(launch.branch_id), key=lambda made: made.seq)


def test_sharded_and_replicated_states_have_one_digest(made: Home) -> None:
    ddp, fsdp = made.nodes("ranked/main"), made.nodes("ranked-2/main")
    assert [node.step for node in ddp] == [node.step for node in fsdp]
    assert [node.state_digest for node in ddp] == [node.state_digest for node in fsdp]


@pytest.mark.parametrize("run", ["ranked", "ranked-2"])
def test_a_worker_starts_as_many_processes_which_end_in_the_same_bits(made: Home, run: str) -> None:
    node, last = made.nodes(f"{run}/main")[2], made.nodes(f"{run}/main")[-1]
    launch, end = resumed(made, node)
    assert (end.step, end.state_digest) == (last.step, last.state_digest)
    assert (made.fork(launch).compared or {})["state"] == "equal"


@pytest.mark.parametrize(("run", "processes"), [("ranked-2", 1), ("ranked-2", 4), ("tiny", 1)])
def test_other_numbers_of_processes_continue_with_each_sample_once(
    made: Home, run: str, processes: int
) -> None:
    node = made.nodes(f"{run}/main")[2]
    launch, end = resumed(made, node, world_size=processes)
    fork = made.fork(launch)
    assert end.settings["world_size"] == processes
    assert (fork.compared or {})["state"] == "explained"
    assert "divided anew among" in (fork.restored or {})["data position"]
    assert end.step == made.nodes(f"{run}/main")[-1].step


def test_a_changed_setting_is_used_by_every_process(made: Home) -> None:
    launch, _ = resumed(made, made.nodes("ranked/main")[2], lr=0.001)
    effective = made.fork(launch).effective
    assert effective is not None
    assert (effective["verified"], effective["lr"]) == (True, 0.001)
