"""A project that was moved is resumed where it lies now, and the run remembers that."""

from __future__ import annotations

import json
import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from branchtrack.cli.main import cli
from branchtrack.config import DEFAULT_HOME, load
from branchtrack.db import audit, runs
from branchtrack.db.schema import open_database
from branchtrack.launching import local_process
from tests.training.mains import ChildHere, run_script

Call = Callable[..., Any]
SCRIPT = """
    from pathlib import Path
    import torch, branchtrack
    rows = [float(row) for row in Path("rows.txt").read_text().split()]
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    data = torch.utils.data.DataLoader(torch.tensor(rows).reshape(-1, 4), 4, shuffle=True)
    with branchtrack.start("mv", model=model, optimizer=optimizer, data=data, max_steps=6,
                           save_steps=2, seed=0) as run:
        for batch in run.batches():
            loss = model(batch).square().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            run.log(loss=loss)
            if run.step():
                break
    """


@pytest.fixture
def branchtrack(monkeypatch: pytest.MonkeyPatch) -> Call:
    """Calls a command in a folder; returns what it prints as JSON, an error too."""
    here = SimpleNamespace(Popen=ChildHere, PIPE=subprocess.PIPE, STDOUT=subprocess.STDOUT)
    monkeypatch.setattr(local_process, "subprocess", here)

    def call(folder: Path, *words: str) -> Any:
        monkeypatch.chdir(folder)
        done = CliRunner().invoke(cli, [*words, "--json"])
        if not isinstance(done.exception, SystemExit | None):
            raise done.exception
        return json.loads(done.stdout)

    return call


def entry_and_moves(home: Path) -> tuple[dict[str, Any], list[Any]]:
    """The command that the run remembers, and the events that tell of its moves."""
    database = open_database(load(home))
    with database.read() as connection:
        run = runs.find_run(connection, "mv")
        events = audit.since(connection, run.id)
        assert audit.first_broken_seq(connection, run.id) is None
    database.close()
    return run.entry_point or {}, [event for event in events if event.state == "moved"]


@pytest.fixture
def moved(tmp_path: Path) -> Path:
    """A project in which a run was trained, and which was moved with its home."""
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    (old / "train.py").write_text(textwrap.dedent(SCRIPT))
    (old / "rows.txt").write_text("\n".join(str(n * 37 % 101 / 101) for n in range(64)))
    run_script(old, "train.py")
    old.rename(new)
    return new


def test_a_moved_project_is_found_and_remembered(
    moved: Path, tmp_path: Path, branchtrack: Call
) -> None:
    nodes = branchtrack(moved, "tree", "mv")["nodes"]
    node = next(one["id"] for one in nodes if one["step"] == 2)
    first = branchtrack(moved, "resume", node, "--name", "first")
    assert (first["state"], first["remembered"]) == ("ended", True)
    entry, events = entry_and_moves(moved / DEFAULT_HOME)
    assert entry["cwd"] == str(moved) and len(events) == 1
    assert events[0].payload["cwd"] == [str(tmp_path / "old"), str(moved)]
    elsewhere = ("--home", str(moved / DEFAULT_HOME))
    again = branchtrack(tmp_path, *elsewhere, "resume", node, "--name", "again")
    assert (again["state"], again["remembered"]) == ("ended", False)
    after = branchtrack(moved, "tree", "mv")["nodes"]
    ends = {one["state_digest"] for one in after if one["step"] == 6}
    assert len([one for one in after if one["step"] == 6]) == 3 and len(ends) == 1


def test_a_home_alone_says_how_and_the_way_out_works(
    moved: Path, tmp_path: Path, branchtrack: Call
) -> None:
    node = next(one["id"] for one in branchtrack(moved, "tree", "mv")["nodes"] if one["step"] == 2)
    home = tmp_path / "colleague"
    (moved / DEFAULT_HOME).rename(home)
    here = ("--home", str(home))
    refused = branchtrack(tmp_path, *here, "resume", node)["error"]
    assert "in which the run was trained is gone" in refused["what"]
    assert f"branchtrack resume {node} --script PATH --cwd DIR" in refused["fix"]
    where = ("--script", str(moved / "train.py"), "--cwd", str(moved))
    found = branchtrack(tmp_path, *here, "resume", node, "--name", "there", *where)
    assert (found["state"], found["remembered"]) == ("ended", True)
    entry, _events = entry_and_moves(home)
    assert entry["argv"][1:] == [str(moved / "train.py")] and entry["cwd"] == str(moved)
    assert branchtrack(tmp_path, *here, "resume", node, "--name", "more")["state"] == "ended"
