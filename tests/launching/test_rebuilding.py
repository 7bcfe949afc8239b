"""A thinned node is trained to again, and stored only if it is the same bit for bit."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import branchtrack
from branchtrack import control
from branchtrack.checkpoints.location import open_store
from branchtrack.config import Config, load
from branchtrack.core.records import Node
from branchtrack.db import integrity, nodes, runs
from branchtrack.db.engine import Database
from branchtrack.db.schema import open_database
from branchtrack.db.storage import thinning
from branchtrack.errors import CheckpointMismatch, CheckpointThinned, LaunchFailed
from branchtrack.launching import rebuilding
from branchtrack.retention.policies import Policy
from branchtrack.retention.sweeps import Sweep
from tests.retention.trees import certify, chain
from tests.trees_for_tests import make_tree

#: The package that is tested, whichever is installed.
ROOT = Path(branchtrack.__file__).parent.parent
SCRIPT = (
    f"ROOT = {str(ROOT)!r}"
    + """
import sys
sys.path.insert(0, ROOT)
import torch, branchtrack
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1))
optimizer = torch.optim.AdamW(model.parameters(), 0.01)
data = [(torch.randn(8), torch.randn(1)) for _ in range(40)]
run = branchtrack.start(
    "tiny", model=model, optimizer=optimizer,
    data=torch.utils.data.DataLoader(data, 4, shuffle=True), max_steps=8, save_steps=2, seed=0,
)
with run:
    for x, y in run.batches():
        loss = ((model(x) - y) ** 2).mean() * FACTOR
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if run.step():
            break
"""
)


def trained(folder: Path) -> Config:
    """A home with a run ``tiny`` of 8 steps, trained by ``script.py`` beside it."""
    config = load(folder / "home")
    script = folder / "script.py"
    script.write_text(SCRIPT.replace("FACTOR", "1.0"))
    environment = {**os.environ, **config.environment()}
    subprocess.run([sys.executable, str(script)], env=environment, check=True, timeout=200)
    return config


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return trained(tmp_path_factory.mktemp("rebuilding"))


@pytest.fixture
def database(config: Config) -> Iterator[Database]:
    opened = open_database(config)
    yield opened
    opened.close()


@pytest.fixture
def line(config: Config, database: Database) -> list[Node]:
    """The nodes of its branch, all but root and head of which are thinned to their recipes."""
    with database.read() as connection:
        run = runs.find_run(connection, "tiny")
        made = nodes.of_branch(connection, runs.find_branch(connection, "tiny").id)
    certify(database, made[0], made[-1])
    Sweep(database, open_store(config.store), {}, "test").run(run, Policy("heads"))
    return made


def thinned(database: Database, line: list[Node]) -> list[str | None]:
    with database.read() as connection:
        return [nodes.thinned(connection, node.state_digest) for node in line]


def test_what_was_rebuilt_is_as_it_was(
    config: Config, database: Database, line: list[Node]
) -> None:
    assert [node.step for node in line] == [0, 2, 4, 6, 8]
    assert thinned(database, line) == [None, "recipe", "recipe", "recipe", None]
    announced: list[rebuilding.Stretch] = []
    assert rebuilding.make_whole(database, config, line[2], announced.append)
    assert [(s.start.id, s.target.id, s.updates) for s in announced] == [
        (line[0].id, line[2].id, 4)
    ]
    assert thinned(database, line) == [None, "recipe", None, "recipe", None]
    control.verify_node(database, open_store(config.store), line[2])
    assert not rebuilding.make_whole(database, config, line[2])
    # From there on the next is nearer.
    assert rebuilding.make_whole(database, config, line[3], announced.append)
    assert announced[-1].updates == 2
    with database.read() as connection:
        assert integrity.of_database(connection) == []
    assert not [log for log in config.logs.iterdir() if log.name.startswith("rebuild")]


def test_another_state_is_not_stored(config: Config, database: Database, line: list[Node]) -> None:
    script = config.home.parent / "script.py"
    script.write_text(SCRIPT.replace("FACTOR", "1.5"))
    try:
        with pytest.raises(CheckpointMismatch) as error:
            rebuilding.make_whole(database, config, line[1])
    finally:
        script.write_text(SCRIPT.replace("FACTOR", "1.0"))
    assert error.value.expected == line[1].state_digest
    assert error.value.found != line[1].state_digest and line[1].state_digest in str(error.value)
    assert thinned(database, line)[1] == "recipe"


def test_a_process_that_does_not_get_there_leaves_its_log(
    config: Config, database: Database, line: list[Node]
) -> None:
    script = config.home.parent / "script.py"
    script.write_text("raise SystemExit('no data')")
    try:
        with pytest.raises(LaunchFailed, match="was not rebuilt") as error:
            rebuilding.make_whole(database, config, line[1])
    finally:
        script.write_text(SCRIPT.replace("FACTOR", "1.0"))
    Path(error.value.facts["log"]).unlink()
    assert thinned(database, line)[1] == "recipe"


def test_a_node_without_a_whole_one_before_it_is_refused(
    config: Config, database: Database
) -> None:
    first, _ = chain(make_tree(database, open_store(config.store), "broken"), count=2)
    with database.transaction() as connection:
        thinning.mark(connection, {first.state_digest: "recipe"})
    with pytest.raises(CheckpointThinned, match="another node"):
        rebuilding.make_whole(database, config, first)
