"""Rewinds that would end training are refused; one of several trainings leaves the others be."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from unittest import mock

import pytest

from branchtrack import control, scripts
from branchtrack.checkpoints.packs import Store
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches
from branchtrack.errors import InvalidInput
from branchtrack.training.record import environment
from branchtrack.training.session.rewind import Rewinder
from tests.training.homes import Home
from tests.trees_for_tests import make_forked_tree


def test_no_process_begins_anew_with_another_script(
    sqlite_database: Database, store: Store, tmp_path: Path
) -> None:
    script = tmp_path / "train.py"
    script.write_text("first = 1")
    began = scripts.digest(script)
    entry_point = {"argv": ["python", "train.py"], "cwd": str(tmp_path), "env": {}}
    tree, made = make_forked_tree(sqlite_database, store, entry_point=entry_point)
    request = control.submit(
        sqlite_database, "demo/main", {"kind": "rewind", "node": made[1].id}, actor="me"
    )
    rewinder = Rewinder(sqlite_database, store, "run")
    script.write_text("import nothing_of_that_name")
    own = mock.patch.object(environment, "entry_point", return_value=entry_point)
    with (
        mock.patch.object(environment, "_SCRIPT", began),
        own,
        pytest.raises(InvalidInput, match=r"training continues(.|\n)*branchtrack resume"),
    ):
        rewinder.order(request)
    with sqlite_database.read() as connection:
        assert launches.unfinished(connection) == [] and rewinder.pending is None
    script.write_text("first = 1")
    with mock.patch.object(environment, "_SCRIPT", began), own:
        assert rewinder.order(request)["branch"]


FOLDS = """
    import time, torch, branchtrack
    for fold in range(3):
        model = torch.nn.Linear(2, 1)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        run = branchtrack.start(f"fold{fold}", model=model, optimizer=optimizer, seed=1,
                                max_steps=400 if fold == 1 else 4, save_steps=2)
        with run:
            while not run.step():
                optimizer.zero_grad()
                model(torch.randn(3, 2)).square().mean().backward()
                optimizer.step()
                time.sleep(0.02 if fold == 1 and run.step_number < 300 else 0)
    """


@pytest.mark.exhaustive
def test_a_fold_that_is_rewound_is_followed_by_those_that_were_to_follow(home: Home) -> None:
    script = home.folder / "folds.py"
    script.write_text(textwrap.dedent(FOLDS))
    root = str(Path(__file__).parent.parent.parent)
    environment = {**os.environ, **home.config.environment(), "PYTHONPATH": root}
    with subprocess.Popen([sys.executable, str(script)], env=environment) as process:
        deadline = time.monotonic() + 90
        while not any(one.name == "fold1" for one in home.runs()):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        while not any(node.step == 4 for node in home.nodes("fold1/main")):
            time.sleep(0.1)
        node = home.node(4, "fold1/main")
        asked = home.ask("rewind", "fold1/main", node=node.id, name="back")
        assert process.wait(120) == 0
    assert home.request(asked.id).state == "done"
    assert {one.name for one in home.runs()} == {"fold0", "fold1", "fold2"}
    assert home.nodes("fold1/back")[-1].kind == home.final_of("fold2").kind == "final"
    assert [one.kind for one in home.nodes("fold0/main")].count("final") == 1
    assert home.launch_of("fold1/back").state == "ended"
    # All three are of one execution of the script, so that each can be resumed alone.
    assert len({one.training["process"] for one in home.runs()}) == 1
