"""A merge as its process makes it: what remains of one that succeeds, fails or is killed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import branchtrack
from branchtrack import control
from branchtrack.checkpoints.location import open_store
from branchtrack.config import Config, load
from branchtrack.core.records import Node
from branchtrack.db import audit, integrity, nodes, runs
from branchtrack.db.engine import Database
from branchtrack.db.schema import open_database
from branchtrack.errors import LaunchFailed, UntrustedHome
from branchtrack.launching import merging
from tests.cli.conftest import call_on

#: The package that is tested, whichever is installed.
ROOT = Path(branchtrack.__file__).parent.parent
SCRIPT = (
    f"ROOT = {str(ROOT)!r}"
    + """
import os, sys, time
sys.path.insert(0, ROOT)
import torch, branchtrack
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 1))
optimizer = torch.optim.SGD(model.parameters(), 0.1)
data = [(torch.randn(4), torch.randn(1)) for _ in range(16)]

def evaluate():
    EVALUATION
    return {"total": sum(float(p.detach().sum()) for p in model.parameters())}

run = branchtrack.start(
    "tiny", model=model, optimizer=optimizer, evaluate=evaluate, max_steps=4, save_steps=2, seed=0,
    data=torch.utils.data.DataLoader(data, 4, shuffle=True),
)
with run:
    for x, y in run.batches():
        ((model(x) - y) ** 2).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        if run.step():
            break
print("after the training")
"""
)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A home with a run ``tiny``, trained by a script in a process of its own."""
    folder = tmp_path_factory.mktemp("merging")
    config = load(folder / "home")
    write(config)
    environment = {**os.environ, **config.environment()}
    subprocess.run(
        [sys.executable, str(folder / "script.py")], env=environment, check=True, timeout=200
    )
    return config


@pytest.fixture
def database(config: Config) -> Iterator[Database]:
    opened = open_database(config)
    yield opened
    opened.close()


def write(config: Config, evaluation: str = "pass", script: str = SCRIPT) -> None:
    path = config.home.parent / "script.py"
    path.write_text(script.replace("EVALUATION", evaluation))


def planned(config: Config, database: Database, **how: Any) -> control.PlannedMerge:
    store = open_store(config.store)
    return control.plan_merge(database, store, "tiny@2", "tiny@4", (0.5, 0.5), actor="ann", **how)


def left(config: Config, database: Database) -> tuple[Any, ...]:
    """All that a merge could leave: nodes, branches, events and packs."""
    with database.read() as connection:
        run = runs.find_run(connection, "tiny")
        packs = sorted(path.name for path in config.store.rglob("*.safetensors"))
        return (
            nodes.list_ids(connection),
            runs.branch_names(connection, run.id),
            audit.last_id(connection, run.id),
            packs,
        )


def test_a_merge_leaves_a_branch_and_no_log(config: Config, database: Database) -> None:
    write(config)
    node: Node = merging.merge(
        database, config, planned(config, database, name="soup", reason="why"), lambda: None
    )
    assert node.message == "Merge of main@2 and main@4, weights 0.5, 0.5: why"
    assert node.actor == "ann" and node.metrics["total"] is not None
    with database.read() as connection:
        branch = runs.find_branch(connection, "tiny/soup")
        assert branch.head_id == node.id and branch.start_node_id == node.parent_id
        assert integrity.of_database(connection) == []
    control.verify_node(database, open_store(config.store), node, need="weights")
    assert not [log for log in config.logs.iterdir() if log.name.startswith("merge")]


def test_the_commands_know_what_a_merge_has(config: Config, database: Database) -> None:
    write(config)
    node = merging.merge(database, config, planned(config, database, name="known"), lambda: None)
    call = partial(call_on, config.home)
    assert "1 of 1 nodes are whole" in call("verify", node.id).out
    assert call("verify", "--all").code == 0
    refused = call("rebuild", node.id)
    assert refused.code == 1 and "is a merge" in refused.err
    assert "merge has weights alone" in call("show", node.id).out
    assert call("diff", "tiny/known", "tiny").code == 0
    dry = call("resume", node.id, "--dry-run", "--json").json
    assert [line["mode"] for line in dry["branches"]] == ["weights"] and not dry["refused"]
    exact = call("resume", node.id, "--mode", "exact", "--dry-run")
    assert exact.code == 2 and "Resume it in the mode weights" in exact.out
    assert call("export", node.id, str(config.home.parent / "exported"), "--raw").code == 0
    assert call("certify", "tiny/known").code == 2
    assert call("audit", "tiny", "--verify").code == 0
    assert call("storage").code == 0


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"evaluation": "raise ValueError('no held-out data')"}, "ValueError: no held-out data"),
        ({"evaluation": "os.kill(os.getpid(), 9)"}, "killed by SIGKILL"),
        ({"script": "print('nothing to train')"}, "It did not reach the training"),
        ({"script": "raise SystemExit('no data')"}, "exit code 1.*no data"),
    ],
)
def test_a_process_that_fails_leaves_its_log_alone(
    how: dict[str, str], why: str, config: Config, database: Database
) -> None:
    plan = planned(config, database)
    before = left(config, database)
    write(config, **how)
    try:
        with pytest.raises(LaunchFailed, match=why) as error:
            merging.merge(database, config, plan, lambda: None)
    finally:
        write(config)
    assert "Nothing was recorded." in str(error.value)
    assert left(config, database) == before
    Path(error.value.facts["log"]).unlink()


def test_whoever_stops_waiting_ends_the_process(config: Config, database: Database) -> None:
    plan = planned(config, database)
    before = left(config, database)
    write(config, "print('pid', os.getpid(), flush=True); time.sleep(600)")

    pids: list[str] = []

    def watch() -> None:
        logs = [log for log in config.logs.iterdir() if log.name.startswith("merge")]
        pids.extend(re.findall(r"pid (\d+)\n", logs[0].read_text() if logs else ""))
        if pids:
            raise KeyboardInterrupt

    try:
        with pytest.raises(KeyboardInterrupt):
            merging.merge(database, config, plan, watch)
    finally:
        write(config)
    assert not Path(f"/proc/{pids[0]}").exists()
    assert left(config, database) == before
    assert not [log for log in config.logs.iterdir() if log.name.startswith("merge")]


def test_nothing_is_started_from_a_home_that_is_not_trusted(
    config: Config, database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan = planned(config, database)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr("branchtrack.trust.is_trusted", lambda config: False)
    with pytest.raises(UntrustedHome):
        merging.merge(database, config, plan, lambda: None)
