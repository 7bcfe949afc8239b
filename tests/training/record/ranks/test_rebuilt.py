"""Nodes of two processes are certified exact, thinned to recipes, and trained to again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from branchtrack import control, trust
from branchtrack.core import exactness
from branchtrack.db import integrity, nodes
from branchtrack.errors import CheckpointMismatch, LaunchFailed
from branchtrack.launching import certification, rebuilding
from branchtrack.launching.foreground import run_launch
from branchtrack.launching.worker import Worker
from branchtrack.retention.policies import Policy
from branchtrack.retention.sweeps import Sweep
from tests.matrices import some
from tests.training import several
from tests.training.homes import Home

#: Sharded, and replicated.
KINDS = ("fsdp", "trainer")


@pytest.fixture(params=some(KINDS, "fsdp"))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def home(kind: str, tmp_path: Path) -> Iterator[Home]:
    """A home in which two processes have trained."""
    home = Home(tmp_path)
    trust.mark(home.config)
    process = several.started(
        "-m", "tests.training.ranked_scripts", "train", kind, "", str(tmp_path)
    )
    text = several.output(process)
    assert process.returncode == 0, text[-4000:]
    yield home
    home.close()


def test_a_certified_node_of_two_processes_is_rebuilt_by_two(kind: str, home: Home) -> None:
    name = "tiny" if kind == "trainer" else "ranked"
    made = home.nodes(f"{name}/main")
    proof = certification.certify(home.database, home.config, made[0], made[-1], lambda step: None)
    assert exactness.words(proof) == "certified exact"
    Sweep(home.database, home.store, {}, "me").run(home.find_run(name), Policy("heads"))
    with home.database.read() as connection:
        recipes = [n for n in made if nodes.thinned(connection, n.state_digest) == "recipe"]
    assert [node.step for node in recipes] == [1, 2, 3, 4, 5, 6]

    command = home.find_run(name).entry_point or {}
    in_half = {**command, "argv": [word or "bf16" for word in command["argv"]]}
    # What the Trainer is asked for is compared before any training.
    other = "bf16 is True in the script" if kind == "trainer" else "led to the state"
    with pytest.raises((CheckpointMismatch, LaunchFailed), match=other):
        rebuilding.make_whole(home.database, home.config, recipes[0], entry_point=in_half)

    assert rebuilding.make_whole(home.database, home.config, recipes[1])
    with home.database.read() as connection:
        assert nodes.thinned(connection, recipes[1].state_digest) is None
        assert list(integrity.of_database(connection)) == []
    control.verify_node(home.database, home.store, recipes[1])

    # A launch from another trains to it first, and then on to the bits of the first training.
    launch = home.order(recipes[3], {})
    ended = run_launch(Worker(home.database, home.config), launch.id, lambda launch, segment: None)
    log = Path(ended.log or "").read_text()
    assert ended.state == "ended" and "rebuilding node" in log, log[-4000:]
    end = max(home.nodes(launch.branch_id), key=lambda node: node.seq)
    assert (end.step, end.state_digest) == (made[-1].step, made[-1].state_digest)
