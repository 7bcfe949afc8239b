"""A command goes on with the run of its own that the environment names, whatever began since."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack.db.tables import runs as run_rows
from branchtrack.environment_variables import CONTINUE_VARIABLE
from branchtrack.errors import InvalidInput
from branchtrack.training.loop.run import Run
from branchtrack.training.record import environment
from branchtrack.training.session import ordinals
from tests.training import loops
from tests.training.homes import Home


def interrupted(home: Home, step: int) -> None:
    """Train until Ctrl-C comes in an update."""

    def at(run: Run, optimizer: Any) -> None:
        if run.update == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loops.train(home, at=at, save_steps=2)


def names(home: Home) -> set[str]:
    """The names of the runs."""
    return {run.name for run in home.runs()}


def printed_wish(caplog: pytest.LogCaptureFixture) -> str:
    """What the newest hint says that the variable is to be."""
    line = [record.message for record in caplog.records if "unfinished" in record.message][-1]
    return line.partition(f"{CONTINUE_VARIABLE}=")[2].split()[0]


@pytest.mark.parametrize("is_finished", [True, False])
def test_the_printed_command_goes_on_with_the_run_that_the_line_names(
    is_finished: bool,
    home: Home,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    interrupted(home, 6)
    if is_finished:
        loops.train(home, save_steps=9)
    else:
        interrupted(home, 8)
    monkeypatch.setenv(CONTINUE_VARIABLE, printed_wish(caplog))
    loops.train(home, save_steps=2)
    assert names(home) == {"tiny", "tiny-2"}
    assert home.nodes("tiny/main")[-1].kind == "final" and home.nodes("tiny/main")[-1].step == 9
    assert is_finished or home.nodes("tiny-2/main")[-1].step == 6


def test_an_id_names_a_run_too(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(home, 6)
    interrupted(home, 8)
    monkeypatch.setenv(CONTINUE_VARIABLE, home.find_run("tiny").id)
    loops.train(home, save_steps=2)
    assert home.nodes("tiny/main")[-1].kind == "final" and len(home.runs()) == 2


def test_a_run_whose_name_says_yes_is_named_by_its_id(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    interrupted(home, 6)
    with home.database.transaction() as connection:
        connection.execute(run_rows.update().values(name="1"))
    loops.train(home, max_steps=2, save_steps=2)
    assert printed_wish(caplog) == home.find_run("1").id


def test_a_name_that_no_run_has_is_refused_with_those_that_come_close(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(home, 6)
    monkeypatch.setenv(CONTINUE_VARIABLE, "tinny")
    with pytest.raises(InvalidInput, match=r"BRANCHTRACK_CONTINUE: There is no run") as refusal:
        loops.train(home)
    assert refusal.value.field == "BRANCHTRACK_CONTINUE" and names(home) == {"tiny"}


def test_a_run_of_another_command_is_refused(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(home, 6)
    monkeypatch.setattr(ordinals.sys, "orig_argv", ["python", "other.py"])
    monkeypatch.setenv(CONTINUE_VARIABLE, "tiny")
    with pytest.raises(InvalidInput, match="the run tiny was begun by another command"):
        loops.train(home)
    assert names(home) == {"tiny"}


def test_the_other_trainings_of_its_script_go_on_with_those_that_belong_to_it(
    home: Home, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            loops.train_folds(home, 2, 3)
    assert printed_wish(caplog) == "fold1"
    monkeypatch.setenv(CONTINUE_VARIABLE, "fold1")
    assert loops.train_folds(home, 2) == [1, 1]
    assert home.nodes("fold1/main")[-1].kind == "final"
    assert "fold0/main" in caplog.text.split("continuing fold1")[0].splitlines()[-2]
    # Where the one that is named has nothing of another training, that goes on as with 1.
    monkeypatch.setenv(CONTINUE_VARIABLE, "fold0-2")
    assert loops.train_folds(home, 2) == [1, 1]
    assert names(home) == {"fold0", "fold1", "fold0-2", "fold1-2"}


def test_a_notebook_is_told_the_node(
    home: Home, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "is_interactive", lambda: True)
    interrupted(home, 6)
    node = home.nodes()[-1].id
    loops.train(home, max_steps=2, save_steps=2)
    line = next(said.message for said in caplog.records if "unfinished" in said.message)
    assert f'branchtrack.start(..., resume="{node}")' in line
    assert f'train(resume_from_node="{node}")' in line
