"""An agent in the script that trains: one thread, which ends with it and never ends it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from branchtrack.agents import in_script
from branchtrack.config import load
from branchtrack.db import runs
from branchtrack.db.schema import open_database
from branchtrack.db.watching import agents
from branchtrack.errors import InvalidInput

SCRIPT = """
import torch, branchtrack
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
agent = branchtrack.start_agent("early-stop", mode="act", options={"metric": "loss", "patience": 5})
run = branchtrack.start("flat", model=model, optimizer=optimizer, data=[torch.ones(2, 4)] * 8,
                        max_steps=100_000)
for batch in run.batches():
    loss = model(batch).sum() * 0
    loss.backward()
    optimizer.step()
    run.log(loss=1.0)
    if run.step():
        break
run.finish()
"""


def test_a_wrong_option_is_refused_before_anything_begins() -> None:
    with pytest.raises(InvalidInput, match="patience"):
        in_script.start_agent("plateau", options={"patience": 0})
    with pytest.raises(InvalidInput, match="policy"):
        in_script.start_agent("luck")


@pytest.mark.parametrize(
    ("field", "value"),
    [("mode", "xx"), ("mode", []), ("name", "a/b"), ("name", 7), ("options", [1]), ("budget", [1])],
)
def test_what_an_agent_cannot_be_is_refused_at_the_call(field: str, value: Any) -> None:
    with pytest.raises(InvalidInput) as raised:
        in_script.start_agent("guard", **{field: value})
    assert raised.value.field == field


def test_a_name_is_that_of_one_agent_of_a_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRANCHTRACK_HOME", str(tmp_path / "home"))
    agent = in_script.start_agent("guard")
    try:
        with pytest.raises(InvalidInput, match="name"):
            in_script.start_agent("guard")
    finally:
        agent.stop()
    in_script.start_agent("guard").stop()


def test_it_stops_the_training_of_its_own_script(tmp_path: Path) -> None:
    (tmp_path / "flat.py").write_text(SCRIPT)
    environment = {"BRANCHTRACK_HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"}
    root = Path(__file__).parents[2]
    subprocess.run(
        [sys.executable, "flat.py"],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(root)},
        check=True,
        timeout=120,
    )
    database = open_database(load(tmp_path / "home"))
    with database.read() as connection:
        run = runs.find_run(connection, "flat")
        (agent,) = agents.listed(connection, run.id)
    database.close()
    assert (agent.policy, agent.mode) == ("early-stop", "act")
    assert agent.spent["interventions"] == 1 and agent.state in ("stopped", "ended")
