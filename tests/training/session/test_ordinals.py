"""Each training of a process has a number, and the same command finds its own again."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from branchtrack.environment_variables import LAUNCH_VARIABLE, REWIND_VARIABLE
from branchtrack.training.record import environment
from branchtrack.training.session import ordinals


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    yield
    ordinals.reset()


def test_another_command_name_folder_or_job_of_an_array_is_another_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(environment, "is_interactive", lambda: False)
    home = tmp_path / "home"
    training = ordinals.Training("a", 1, 1, "p")
    whole = ordinals.command(training, home)
    other = ordinals.Training("a", 2, 2, "p")
    digests = {whole, ordinals.command(other, home)}
    digests.add(ordinals.command(ordinals.Training("b", 1, 1, "p"), home))
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    digests.add(ordinals.command(training, home))
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID")
    monkeypatch.setattr(sys, "orig_argv", ["python", "train.py", "--lr", "1"])
    digests.add(ordinals.command(training, home))
    assert len(digests) == 5
    # The interpreter does not matter, nor where a project lies that has its home within it.
    commands = []
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        commands.append(ordinals.command(training, tmp_path / name / ".branchtrack"))
        commands.append(ordinals.command(training, home))
    assert commands[0] == commands[2] and commands[1] != commands[3]


def test_a_process_forked_off_counts_its_own_trainings() -> None:
    ordinals.reset()
    process = ordinals.this_process()
    assert process.next("a").of_name == 1 and process.next("b").number == 2
    assert (process.next("a").of_name, process.next("a").number) == (2, 4)
    ordinals._process = ordinals.Process(pid=-1, id=process.id)
    assert ordinals.this_process().id != process.id


def test_threads_have_one_process() -> None:
    ordinals.reset()
    ids: list[str] = []
    threads = [Thread(target=lambda: ids.append(ordinals.this_process().id)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 1


def test_what_a_process_was_started_for_is_not_passed_on_to_its_children(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ordinals.reset()
    monkeypatch.setenv(LAUNCH_VARIABLE, "abcd")
    monkeypatch.setenv(REWIND_VARIABLE, "ef01")
    order = ordinals.this_process().order
    assert order == ordinals.Order("abcd", None, "ef01", alone=False)
    assert LAUNCH_VARIABLE not in os.environ and REWIND_VARIABLE not in os.environ
    assert ordinals.this_process().order is order


def test_cells_that_are_run_again_are_the_same_training(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first, again = ordinals.Training("a", 1, 1, "p"), ordinals.Training("a", 2, 2, "p")
    for is_interactive in (True, False):
        monkeypatch.setattr(environment, "is_interactive", lambda: is_interactive)  # noqa: B023
        same = ordinals.command(first, tmp_path) == ordinals.command(again, tmp_path)
        assert same is is_interactive


def test_the_site_of_a_training_does_not_depend_on_its_arguments(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(environment, "is_interactive", lambda: False)
    training = ordinals.Training("a", 1, 1, "p")
    site = ordinals.site(training, tmp_path, "out")
    monkeypatch.setattr(sys, "orig_argv", ["python", "train.py", "--lr", "1"])
    assert ordinals.site(training, tmp_path, "out") == site
    assert ordinals.site(training, tmp_path, "other") != site


def test_a_training_names_itself_with_its_number_where_there_are_several() -> None:
    assert str(ordinals.Training("a", 3, 1, "p")) == "'a'"
    assert str(ordinals.Training("a", 3, 2, "p")) == "'a' (number 2 of that name)"
